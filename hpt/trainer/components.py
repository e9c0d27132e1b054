"""The collaborators of one trainer, wired once, and the little state that moves between them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import HybridConfig
from hpt.control.correct import CorrectWatch
from hpt.control.divergence import DivergenceMonitor
from hpt.control.gate import JumpGate
from hpt.control.phases import PhaseController
from hpt.history import RunHistory
from hpt.jump.batch import KeptBatch
from hpt.jump.others import OthersChanges
from hpt.jump.outer import OuterStep
from hpt.jump.parameters import ParameterSet
from hpt.jump.probe import WAYS, Probe
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats
from hpt.jump.trajectory import Trajectory
from hpt.learned.loss_trend import LossForecast, LossTrend
from hpt.learned.residual_model import ResidualModel
from hpt.memory.manager import MemoryManager
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.memory import memory_steps
from hpt.optimizers.traits import traits_of
from hpt.predictors.guarded import GuardedPredictor
from hpt.predictors.protocol import Predictor, Proposal
from hpt.predictors.registry import build_predictor
from hpt.records import EventRecord, Sink
from hpt.trainer.checkpoint_file import CheckpointFolder
from hpt.trainer.degradation import Degradation
from hpt.trainer.fork import Fork
from hpt.trainer.full_step import FullStep, LossFunction
from hpt.trainer.ledger import Ledger
from hpt.trainer.precision import Precision
from hpt.trainer.readings import StepReadings
from hpt.trainer.requirements import check_predictable, check_state, check_trainable


@dataclass(slots=True)
class TrainerState:
    """What changes from call to call and belongs to no single collaborator.

    Attributes:
        num_calls: batches consumed.
        horizon_factor: shrinks the horizon after a caution, recovers with kept jumps.
        confidence: of the last proposal.
        proposal: waiting for the PREDICT call.
        stats: of the cycle that ended last, while a proposal waits.
        fork: the open fork.
        references: batches of earlier steps, for a paired test.
        skips_in_row: updates skipped, or cycles undone, for numbers that are not finite, one after the other.
        rollbacks: of broken weights, since a cycle stood.
        retry_left: full steps left at the lowered learning rate.
        last_checkpoint: path of the newest checkpoint written.
        saved_at: net update of the newest automatic checkpoint.
        said: names of the events that are recorded once.
        save_soon: memory is so short that a checkpoint is wanted at the end of this call.
        is_changing: the trained parameters changed, and no whole cycle has passed since.
    """

    num_calls: int = 0
    horizon_factor: float = 1.0
    confidence: float | None = None
    proposal: Proposal | None = None
    stats: CycleStats | None = None
    fork: Fork | None = None
    references: list[KeptBatch] = field(default_factory=list[KeptBatch])
    skips_in_row: int = 0
    rollbacks: int = 0
    retry_left: int = 0
    last_checkpoint: str | None = None
    saved_at: int = 0
    said: set[str] = field(default_factory=set[str])
    save_soon: bool = False
    is_changing: bool = False


class Components:
    """Everything a trainer works with; builds and connects it.

    Attributes:
        is_baseline: no prediction at all, the plain loop.
        reads_at_once: losses and norms are read at every step and not once a cycle.

    Raises:
        ModelError: the model, optimizer or scheduler cannot be trained, or not with jumps, see `requirements`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        loss_fn: LossFunction,
        config: HybridConfig,
        scheduler: LRScheduler | Sequence[LRScheduler] | None,
        sink: Sink,
        predictor: Predictor | None,
    ) -> None:
        self.is_baseline = config.predictor == "none" and predictor is None
        self.model = model
        self.optimizer = InnerOptimizer(optimizer, model)
        self.schedulers = _listed(scheduler)
        check_trainable(model, self.optimizer, self.schedulers)
        if not self.is_baseline:
            check_predictable(model, self.optimizer)
        self.config = config = with_cycle(config, self.optimizer)
        self.sink = sink
        self.state = TrainerState()
        self.ledger = Ledger()
        self.device = next(p.device for p in self.optimizer.parameters if p.requires_grad)
        asked = config.update.observe
        self.reads_at_once = asked == "step" or (asked == "auto" and self.device.type == "cpu")
        self.precision = Precision(config.precision, self.device)
        self.parameters = ParameterSet(model, self.optimizer, config.roles)
        self.full = FullStep(
            model,
            self.optimizer,
            loss_fn,
            self.schedulers,
            self.precision,
            config.update,
            self.ledger,
            parameters=self.parameters,
            on_change=self.lay_rows_anew,
            guarded=not self.is_baseline,
            reads_at_once=self.reads_at_once,
        )
        self.folder = (
            CheckpointFolder(config.checkpoint.dir, keep=config.checkpoint.keep) if config.checkpoint.dir else None
        )
        self.controller = PhaseController(config.first_jump_step, config.cycle_steps, config.correct_steps)
        if not self.is_baseline:
            self._build_prediction(predictor)

    def _build_prediction(self, predictor: Predictor | None) -> None:
        config, where = self.config, self.config.trajectory
        self.parameters.settle()
        self.others = OthersChanges(self.model, self.optimizer)
        distinct = self.parameters.distinct()
        inner = build_predictor(config, traits_of(self.model, self.optimizer)) if predictor is None else predictor
        self.predictor = GuardedPredictor(inner, self._retired)
        self.history = RunHistory(len(distinct), config.total_steps)
        self.readings = self._rows()
        trajectory = Trajectory(distinct, inner.scale, where.device, where.format, self.parameters.followed_as_they_are)
        self.outer = OuterStep(
            trajectory,
            self._take,
            max_ratio=config.predict.max_jump_ratio,
            max_rise_frac=config.probe.max_rise_frac,
            optimizer_state=self.optimizer.state_tensors if config.memory.offload_optimizer else None,
        )
        self.memory = MemoryManager(config.memory, self.device, trajectory.parameters)
        self.degradation = Degradation(trajectory)
        self.gate = JumpGate(config, inner.window)
        self.monitor = DivergenceMonitor()
        self.probe = Probe(self.model, self.full.loss_of, config.probe.batches, self.full.buffers, self.full.reach)
        self.correct = CorrectWatch(config.correct_steps, config.probe.band_sigmas)
        self.residuals = ResidualModel()
        self.trend = LossTrend(max(config.max_horizon, config.cycle_steps), inner.far)

    def _rows(self) -> StepReadings:
        parameters = self.parameters
        return StepReadings(parameters.groups, parameters.clipped, self.config.update.accumulation_steps)

    def lay_rows_anew(self) -> None:
        """Rows so far are of the parameters as they were; those from now on are of others."""
        if not self.is_baseline:
            self.history.fill(self.readings.drain()[0])
            self.readings = self._rows()

    def follow_parameters(self) -> None:
        """Prediction follows the trained parameters as they are now, from now on."""
        self.parameters.settle()
        self.outer.trajectory.follow(self.parameters.distinct(), self.parameters.followed_as_they_are)
        self.memory.copies.follow(self.outer.trajectory.parameters)

    @property
    def progress(self) -> float | None:
        """Net updates over planned ones."""
        total = self.config.total_steps
        return None if total is None else self.controller.step / total

    def forecast(self, num_steps: int) -> LossForecast:
        """Loss expected `num_steps` ahead, by the predictor if it has an opinion, else by the constant trend."""
        learned = self.predictor.forecast(self.trend, num_steps)
        if learned is not None:
            return learned
        mean, scale = self.trend.at(min(num_steps, self.config.max_horizon))
        return LossForecast(self.trend.level + mean, scale)

    def measure(self, batches: Sequence[KeptBatch]) -> list[float]:
        """Losses on batches at the present weights, counted as a probe's; nothing else is changed by it.

        Raises:
            BatchSpent: one of them cannot be had again; `probe.objection` tells before.
            Exception: whatever the user's loss function raises.
        """
        self.ledger.lap("jump")
        way = self.probe.way
        losses = self.probe.losses(batches)
        if self.probe.way != way:
            self.event("probe_way", f"the loss function fails otherwise; probes run {WAYS[self.probe.way].text}")
        self.ledger.counters.probe_forwards += len(losses)
        self.ledger.lap("probe")
        return losses

    def present(self, reuse: Snapshot | None = None) -> Snapshot:
        """A snapshot of the whole training state as it is now."""
        scaler = self.precision.scaler
        return Snapshot.take(
            self.model,
            self.optimizer,
            self.schedulers if scaler is None else [*self.schedulers, scaler],
            beside=self.full.reach.modules,
            reuse=reuse,
            placement="cpu" if self.device.type == "cuda" else "device",
            others=self.others,
        )

    def own_call(self) -> AbstractContextManager[None]:
        """Around everything that this trainer does, so that it can tell what others did."""
        return nullcontext() if self.is_baseline else self.others

    def _take(self, reuse: Snapshot | None) -> Snapshot:
        check_state(self.optimizer)
        snapshot = self.present(reuse)
        self.full.buffers.look_again()
        self.history.fix()
        self.ledger.lap("snapshot")
        return snapshot

    def event(self, name: str, message: str, **data: float | str | None) -> None:
        """Record something out of the ordinary."""
        self.sink(EventRecord(self.controller.step, self.state.num_calls, name, message, dict(data)))

    def event_once(self, name: str, message: str, **data: float | str | None) -> None:
        """The same, the first time only."""
        if name not in self.state.said:
            self.state.said.add(name)
            self.event(name, message, **data)

    def tell_decision(self, step: int) -> None:
        """Record what the predictor decided at this net update, if it did."""
        decision = self.predictor.decision()
        if decision is not None and decision.step == step:
            self.sink(decision)

    def _retired(self, message: str) -> None:
        self.event("predictor_failed", message + "; training goes on without prediction")

    def stateful(self) -> Iterator[tuple[str, Any]]:
        """Collaborators with a state_dict, by name."""
        yield from (("parameters", self.parameters), ("ledger", self.ledger), ("controller", self.controller))
        yield "full", self.full
        if not self.is_baseline:
            # degradation before the trajectory in `outer`, whose storage it decides
            names = "predictor degradation outer history gate monitor probe correct residuals trend"
            for name in names.split():
                yield name, getattr(self, name)


def with_cycle(config: HybridConfig, optimizer: InnerOptimizer) -> HybridConfig:
    """The settings with K in place, no shorter than the memory of any optimizer.

    A shorter displacement is mostly momentum, which goes on by itself: to follow it counts it twice. Measured on
    `regression` (momentum 0.99), 600 updates: K = 15 costs 0.5, K = 100 nothing.
    """
    if config.full_steps is not None:
        return config
    least = round(max(map(memory_steps, optimizer.each)))
    return replace(config, full_steps=max(config.cycle_steps, least))


def _listed(scheduler: LRScheduler | Sequence[LRScheduler] | None) -> list[LRScheduler]:
    """None, one, or a list of them, as a list."""
    if scheduler is None:
        return []
    return list(scheduler) if isinstance(scheduler, (list, tuple)) else [cast("LRScheduler", scheduler)]
