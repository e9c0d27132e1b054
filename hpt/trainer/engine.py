"""What makes jumps in a run, whoever owns the training loop: collaborators wired once, and the state between them.

`HybridTrainer` owns its loop (`components`); in a loop of the user's own `hpt.attach` drives the same engine by hooks.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch

from hpt.config import HybridConfig
from hpt.control.correct import CorrectWatch
from hpt.control.divergence import DivergenceMonitor
from hpt.control.gate import JumpGate
from hpt.control.phases import PhaseController
from hpt.distributed.together import Together
from hpt.distributed.wrappers import fully_sharded, reshard, unwrapped
from hpt.history import RunHistory
from hpt.jump.batch import KeptBatch
from hpt.jump.others import OthersChanges
from hpt.jump.outer import OuterStep
from hpt.jump.parameters import ParameterSet
from hpt.jump.snapshot import HasState, Snapshot
from hpt.jump.stats import CycleStats
from hpt.jump.trajectory import Trajectory
from hpt.learned.loss_trend import LossForecast, LossTrend
from hpt.learned.residual_model import ResidualModel
from hpt.numerics.shards import NO_SHARDS, Shards, is_dtensor
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.memory import memory_steps
from hpt.predictors.guarded import GuardedPredictor
from hpt.predictors.protocol import Predictor, Proposal
from hpt.records import EventRecord, Sink
from hpt.trainer.fork import Fork
from hpt.trainer.ledger import Ledger
from hpt.trainer.readings import StepReadings
from hpt.trainer.requirements import check_state


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


class Engine:
    """Everything that jumps are made with; `build_prediction` connects it.

    Args:
        model: names parameters, and its structure is a trait of the run.
        optimizer: what it holds and requires a gradient moves.
        config: settings.
        sink: receives every record.
        together: the processes that train this model.

    Attributes:
        has_losses: losses of the steps are known.
        buffered: the module whose buffers go back with the weights.
        bare: the user's own model, without what wraps it for several processes or the compiler.
        sharded: its modules whose weights `fully_shard` keeps in pieces.
    """

    has_losses = True

    def __init__(
        self, model: torch.nn.Module, optimizer: InnerOptimizer, config: HybridConfig, sink: Sink, together: Together
    ) -> None:
        self.model = self.buffered = model
        self.bare = unwrapped(model)
        self.optimizer = optimizer
        self.config = config = with_cycle(config, optimizer)
        self.sink = sink
        self.together = together
        self.state = TrainerState()
        self.ledger = Ledger()
        self.device = next(p.device for p in optimizer.parameters if p.requires_grad)
        self.sharded = fully_sharded(model)
        reshard(self.sharded)  # a forward pass before now may have left gathered weights
        self.parameters = ParameterSet(self.bare, optimizer, config.roles, shards_of(optimizer.parameters, together))
        self.controller = PhaseController(config.first_jump_step, config.cycle_steps, config.correct_steps)

    def build_prediction(self, inner: Predictor) -> None:
        """Connect what observes, proposes, judges and jumps."""
        config, where = self.config, self.config.trajectory
        self.parameters.settle()
        self.others = OthersChanges(self.buffered, self.optimizer)
        distinct = self.parameters.distinct()
        self.predictor = GuardedPredictor(inner, self._retired)
        self.history = RunHistory(len(distinct), config.total_steps)
        self.readings = self._rows()
        trajectory = Trajectory(
            distinct,
            inner.scale,
            where.device,
            where.format,
            self.parameters.followed_as_they_are,
            self.parameters.shards,
        )
        self.outer = OuterStep(
            trajectory,
            self._take,
            max_ratio=config.predict.max_jump_ratio,
            max_rise_frac=config.probe.max_rise_frac,
            optimizer_state=self.optimizer.state_tensors if config.memory.offload_optimizer else None,
        )
        self.gate = JumpGate(config, inner.window)
        self.monitor = DivergenceMonitor()
        self.correct = CorrectWatch(config.correct_steps, config.probe.band_sigmas)
        self.residuals = ResidualModel()
        self.trend = LossTrend(max(config.max_horizon, config.cycle_steps), inner.far)

    def _rows(self) -> StepReadings:
        parameters = self.parameters
        num_losses = self.config.update.accumulation_steps
        return StepReadings(parameters.groups, parameters.clipped, num_losses, parameters.shards)

    def lay_rows_anew(self) -> None:
        """Rows so far are of the parameters as they were; those from now on are of others."""
        self.history.fill(self.readings.drain()[0])
        self.readings = self._rows()

    def follow_parameters(self) -> None:
        """Prediction follows the trained parameters as they are now, from now on."""
        self.parameters.settle()
        self.outer.trajectory.follow(self.parameters.distinct(), self.parameters.followed_as_they_are)

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

    def snapshot_of(
        self,
        schedules: Sequence[HasState] = (),
        beside: Sequence[torch.nn.Module] = (),
        reuse: Snapshot | None = None,
    ) -> Snapshot:
        """A snapshot of the model, the optimizer and what is named, as it is now; it lies where the trajectory does."""
        trajectory = self.outer.trajectory
        return Snapshot.take(
            self.buffered,
            self.optimizer,
            schedules,
            beside=beside,
            reuse=reuse,
            placement="device" if self.device.type == "cpu" or trajectory.device == "device" else "cpu",
            others=self.others,
        )

    def present(self, reuse: Snapshot | None = None) -> Snapshot:
        """A snapshot of the whole training state as it is now."""
        return self.snapshot_of(reuse=reuse)

    @property
    def jumps_are_off(self) -> bool:
        """Nothing jumps any more."""
        return False

    def forget_gradients(self) -> None:
        """They are of weights that went back."""
        self.optimizer.zero_grad()

    def own_call(self) -> AbstractContextManager[None]:
        """Around everything that hpt does itself, so that it can tell what others did."""
        return self.others

    def _take(self, reuse: Snapshot | None) -> Snapshot:
        check_state(self.optimizer)
        snapshot = self.present(reuse)
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


def shards_of(parameters: Sequence[torch.Tensor], together: Together) -> Shards:
    """How the processes come to numbers of all weights, of which each holds pieces, if it does."""
    if not together.are_several or not any(map(is_dtensor, parameters)):
        return NO_SHARDS
    return Shards(exist=True, is_first=together.rank == 0, add=together.add)


def with_cycle(config: HybridConfig, optimizer: InnerOptimizer) -> HybridConfig:
    """The settings with K in place, no shorter than the memory of any optimizer.

    A shorter displacement is mostly momentum, which goes on by itself: to follow it counts it twice. Measured on
    `regression` (momentum 0.99), 600 updates: K = 15 costs 0.5, K = 100 nothing.
    """
    if config.full_steps is not None:
        return config
    least = round(max(map(memory_steps, optimizer.each)))
    return replace(config, full_steps=max(config.cycle_steps, least))
