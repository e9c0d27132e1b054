"""The collaborators of one trainer, wired once, and the little state that moves between them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import HybridConfig
from hpt.control.clipping import AdaptiveClipper
from hpt.control.divergence import DivergenceMonitor
from hpt.control.gate import JumpGate
from hpt.control.health import HealthMonitor
from hpt.control.phases import PhaseController
from hpt.control.rise import RiseBound
from hpt.errors import ModelError
from hpt.learned.facts import CycleFacts
from hpt.learned.forecast import LossTrend
from hpt.memory.manager import MemoryManager
from hpt.memory.offload import Offload
from hpt.predictors.guarded import GuardedPredictor
from hpt.predictors.protocol import LossForecast, Predictor, Proposal
from hpt.predictors.registry import build_predictor
from hpt.records import EventRecord, Sink
from hpt.trainer.checkpoint import CheckpointFolder
from hpt.trainer.correct_step import CorrectStep
from hpt.trainer.corrector import Corrector
from hpt.trainer.degradation import Degradation
from hpt.trainer.fork import Fork, ForkSchedule
from hpt.trainer.full_step import FullStep, LossFunction
from hpt.trainer.ledger import Ledger
from hpt.trainer.precision import Precision
from hpt.trainer.predict_step import PredictStep
from hpt.trainer.probe import Probe
from hpt.trainer.rollout import Rollout
from hpt.trainer.snapshot import Snapshot
from hpt.trainer.trajectory import Trajectory

DEFAULT_WINDOW = (0.1, 0.9)


@dataclass(slots=True)
class Moving:
    """What changes from call to call and belongs to no single collaborator.

    Attributes:
        num_calls: batches consumed.
        max_lr: largest learning rate seen.
        steps_since_jump: full steps since the last kept jump, None before the first.
        horizon_factor: shrinks the horizon after a caution, recovers with kept jumps.
        confidence: of the last proposal.
        proposal: waiting for the PREDICT call.
        facts: of the cycle that ended last, while a proposal waits.
        snapshot: state at the end of the last cycle.
        fork: the open fork.
        rollout: the open roll-out.
        update_batches: micro-batches of the update in progress.
        skips_in_row: updates skipped one after the other.
        rollbacks: critical rollbacks so far.
        retry_left: full steps left at the lowered learning rate.
        last_checkpoint: path of the newest checkpoint written.
        saved_at: net update of the newest automatic checkpoint.
        save_soon: memory is so short that a checkpoint is wanted at the end of this call.
        advised: recommendations that stood at the end of the last cycle.
        slow_checkpoints: it was recorded that checkpoints take too much time.
    """

    num_calls: int = 0
    max_lr: float = 0.0
    steps_since_jump: int | None = None
    horizon_factor: float = 1.0
    confidence: float | None = None
    proposal: Proposal | None = None
    facts: CycleFacts | None = None
    snapshot: Snapshot | None = None
    fork: Fork | None = None
    rollout: Rollout | None = None
    update_batches: list[Any] = field(default_factory=list[Any])
    skips_in_row: int = 0
    rollbacks: int = 0
    retry_left: int = 0
    last_checkpoint: str | None = None
    saved_at: int = 0
    slow_checkpoints: bool = False
    save_soon: bool = False
    advised: list[str] = field(default_factory=list[str])


class Parts:
    """Everything a trainer works with; builds and connects it.

    Raises:
        ModelError: the optimizer holds no parameter that requires a gradient.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_fn: LossFunction,
        config: HybridConfig,
        scheduler: LRScheduler | None,
        sink: Sink,
        predictor: Predictor | None,
    ) -> None:
        self.config = config = with_cycle(config, optimizer)
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.sink = sink
        self.moving = Moving()
        self.ledger = Ledger()
        self.plain = config.predictor == "none" and predictor is None
        self.device = _device_of(optimizer)
        self.precision = Precision(config.precision, self.device)
        clipper = AdaptiveClipper(config.tuning.clipping_ratio) if config.tuning.adaptive_clipping else None
        self.full = FullStep(
            model,
            optimizer,
            loss_fn,
            scheduler,
            self.precision,
            config.update,
            self.ledger,
            guarded=not self.plain,
            clipper=clipper,
        )
        self.folder = (
            CheckpointFolder(config.checkpoint.dir, keep=config.checkpoint.keep) if config.checkpoint.dir else None
        )
        self.controller = PhaseController(config.first_jump_step, config.cycle_steps, config.correct_steps)
        if not self.plain:
            self._build_prediction(predictor)

    def _build_prediction(self, predictor: Predictor | None) -> None:
        config, groups = self.config, self.full.groups
        num_parameters = sum(parameter.numel() for group in groups for parameter in group)
        inner = predictor or build_predictor(config, num_parameters=num_parameters, num_groups=len(groups))
        self.predictor = GuardedPredictor(inner, self._retired)
        scales = tuple(sorted({*config.trajectory.scales, *inner.scales}))
        tables = [one.weight for one in self.model.modules() if isinstance(one, torch.nn.Embedding)]
        self.trajectory = Trajectory(groups, scales, inner.num_past, config.trajectory.placement, tables)
        self.memory = MemoryManager(config.memory, self.device, self.trajectory.parameters)
        self.degradation = Degradation(self.trajectory, inner.scales)
        self.gate = JumpGate(config, getattr(inner, "window", DEFAULT_WINDOW))
        self.monitor = DivergenceMonitor(config.divergence)
        self.health = HealthMonitor(config.tuning)
        self.rise = RiseBound(config.probe.max_rise_frac)
        self.probe = Probe(self.full, config.probe, self.ledger)
        self.predict = PredictStep(
            self.full,
            self.trajectory,
            self.probe,
            self.rise,
            self.ledger,
            config.predict.max_jump_ratio,
            Offload() if config.memory.offload_optimizer else None,
        )
        self.correct = CorrectStep(config.correct_steps, config.probe.band_sigmas)
        self.corrector = Corrector(config.correct)
        self.trend = LossTrend(max(config.max_horizon, config.cycle_steps))
        self.forks = ForkSchedule(config.fork, config.total_steps)

    @property
    def progress(self) -> float | None:
        """Net updates over planned ones."""
        total = self.config.total_steps
        return None if total is None else self.controller.step / total

    @property
    def lr_frac(self) -> float:
        """Learning rate over the largest seen."""
        return self.full.lr / self.moving.max_lr if self.moving.max_lr > 0.0 else 1.0

    def forecast(self, num_steps: int) -> LossForecast:
        """Loss expected `num_steps` ahead, by the predictor if it has an opinion, else by the constant trend."""
        learned = self.predictor.forecast(num_steps)
        if learned is not None:
            return learned
        mean, scale = self.trend.at(min(num_steps, self.config.max_horizon))
        return LossForecast(self.trend.level + mean, scale)

    def take_snapshot(self) -> Snapshot:
        """Keep the present state, in the memory of the last snapshot."""
        self.moving.snapshot = Snapshot.take(
            self.model,
            self.optimizer,
            self.scheduler,
            self.precision.scaler,
            reuse=self.moving.snapshot,
            placement="cpu" if self.device.type == "cuda" else "device",
        )
        self.ledger.lap("snapshot")
        return self.moving.snapshot

    def event(self, name: str, message: str, **data: float | str | None) -> None:
        """Record something out of the ordinary."""
        self.sink(EventRecord(self.controller.step, self.moving.num_calls, name, message, dict(data)))

    def _retired(self, message: str) -> None:
        self.event("predictor_failed", message + "; training goes on without prediction")

    def stateful(self) -> Iterator[tuple[str, Any]]:
        """Collaborators with a state_dict, by name."""
        yield from (("ledger", self.ledger), ("controller", self.controller), ("full", self.full))
        if not self.plain:
            # degradation before the trajectory, whose storage it decides
            names = "predictor degradation trajectory gate monitor health rise probe correct corrector trend forks"
            for name in names.split():
                yield name, getattr(self, name)


def with_cycle(config: HybridConfig, optimizer: torch.optim.Optimizer) -> HybridConfig:
    """The settings with K in place, no shorter than the memory of the optimizer.

    A shorter displacement is mostly momentum, which goes on by itself: to follow it counts it twice. Measured on
    `regression` (momentum 0.99), 600 updates: K = 15 costs 0.5, K = 100 nothing.
    """
    if config.full_steps is not None:
        return config
    least = round(max(_memory_steps(group) for group in optimizer.param_groups))
    return replace(config, full_steps=max(config.cycle_steps, least))


def _memory_steps(group: Mapping[str, Any]) -> float:
    """Steps over which a parameter group's momentum averages, 1 / (1 - beta); 1 without momentum."""
    beta = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
    return 1.0 / (1.0 - float(beta)) if 0.0 <= beta < 1.0 else 1.0


def _device_of(optimizer: torch.optim.Optimizer) -> torch.device:
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if not trained:
        raise ModelError("the optimizer holds no parameter that requires a gradient; unfreeze some or pass others")
    return trained[0].device
