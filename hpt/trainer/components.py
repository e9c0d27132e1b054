"""The collaborators of a trainer that owns its loop, wired once."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import HybridConfig
from hpt.distributed.together import Together
from hpt.distributed.wrappers import reshard
from hpt.jump.batch import KeptBatch
from hpt.jump.probe import WAYS, Probe
from hpt.jump.snapshot import Snapshot
from hpt.memory.manager import MemoryManager
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.traits import traits_of
from hpt.predictors.protocol import Predictor
from hpt.predictors.registry import build_predictor
from hpt.records import Sink
from hpt.trainer.checkpoint_file import CheckpointFolder
from hpt.trainer.degradation import Degradation
from hpt.trainer.engine import Engine
from hpt.trainer.full_step import FullStep, LossFunction
from hpt.trainer.ledger import FORWARD_SHARE
from hpt.trainer.precision import Precision
from hpt.trainer.requirements import check_predictable, check_settings, check_trainable

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Components(Engine):
    """Everything a trainer works with that owns its loop; builds and connects it.

    Attributes:
        is_baseline: no prediction at all, the plain loop.
        reads_at_once: losses and norms are read at every step and not once a cycle.

    Raises:
        ModelError: the model, optimizer or scheduler cannot be trained, or not with jumps, see `requirements`.
        ConfigError: a setting cannot be had in several processes.
    """

    def __init__(  # noqa: PLR0913 (what a trainer is made of)
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        loss_fn: LossFunction,
        config: HybridConfig,
        scheduler: LRScheduler | Sequence[LRScheduler] | None,
        sink: Sink,
        predictor: Predictor | None,
        *,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        self.is_baseline = config.predictor == "none" and predictor is None
        inner = InnerOptimizer(optimizer, model)
        self.schedulers = _listed(scheduler)
        check_trainable(model, inner, self.schedulers)
        together = Together(process_group)
        if not self.is_baseline:
            check_predictable(model, inner, together.num_processes)
            check_settings(config, inner, together.num_processes)
        super().__init__(model, inner, config, sink, together)
        config = self.config
        asked = config.update.observe
        # Several processes know their losses together, and these are sent once a cycle.
        is_free = self.device.type == "cpu" and (self.is_baseline or not self.together.are_several)
        self.reads_at_once = is_free if asked == "auto" else asked == "step"
        self.precision = Precision(config.precision, self.device)
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
        if not self.is_baseline:
            traits = traits_of(self.bare, self.optimizer)
            if predictor is None:
                predictor = build_predictor(config, traits, jump_cost=FORWARD_SHARE)  # that of PREDICT's own batch
            self.build_prediction(predictor)

    def build_prediction(self, inner: Predictor) -> None:
        """The engine, the memory layers and the probe."""
        super().build_prediction(inner)
        config, trajectory = self.config, self.outer.trajectory
        self.memory = MemoryManager(config.memory, self.device, trajectory.parameters)
        self.degradation = Degradation(trajectory)
        self.probe = Probe(self.model, self.full.loss_of, config.probe.batches, self.full.buffers, self.full.reach)

    def lay_rows_anew(self) -> None:
        """Rows so far are of the parameters as they were; those from now on are of others."""
        if not self.is_baseline:
            super().lay_rows_anew()

    def follow_parameters(self) -> None:
        """Prediction follows the trained parameters as they are now, from now on."""
        super().follow_parameters()
        self.memory.copies.follow(self.outer.trajectory.parameters)

    def measure(self, batches: Sequence[KeptBatch]) -> list[float]:
        """Losses on batches at the present weights, counted as a probe's; nothing else is changed by it.

        Raises:
            BatchSpent: one of them cannot be had again; `probe.objection` tells before.
            Exception: whatever the user's loss function raises.
        """
        self.ledger.lap("jump")
        way = self.probe.way
        losses = self.probe.losses(batches, self.together.agree if self.together.are_several else None)
        if self.probe.way != way:
            self.event("probe_way", f"the loss function fails otherwise; probes run {WAYS[self.probe.way].text}")
        self.ledger.counters.probe_forwards += len(batches)
        self.ledger.lap("probe")
        return losses

    def present(self, reuse: Snapshot | None = None) -> Snapshot:
        """A snapshot of the whole training state as it is now."""
        scaler = self.precision.scaler
        schedules = self.schedulers if scaler is None else [*self.schedulers, scaler]
        return self.snapshot_of(schedules, self.full.reach.modules, reuse)

    @property
    def jumps_are_off(self) -> bool:
        """The probe failed so often that nothing is probed any more."""
        return self.probe.is_off

    def own_call(self) -> AbstractContextManager[None]:
        """Around everything that this trainer does, so that it can tell what others did."""
        if self.is_baseline:
            return nullcontext()
        reshard(self.sharded)  # of the caller's evaluation in between
        return super().own_call()

    def _take(self, reuse: Snapshot | None) -> Snapshot:
        self.full.buffers.look_again()
        return super()._take(reuse)

    def stateful(self) -> Iterator[tuple[str, Any]]:
        """Collaborators with a state_dict, by name."""
        yield from (("parameters", self.parameters), ("ledger", self.ledger), ("controller", self.controller))
        yield "full", self.full
        if not self.is_baseline:
            # degradation before the trajectory in `outer`, whose storage it decides
            names = "predictor degradation outer history gate monitor probe correct residuals trend"
            for name in names.split():
                yield name, getattr(self, name)


def _listed(scheduler: LRScheduler | Sequence[LRScheduler] | None) -> list[LRScheduler]:
    """None, one, or a list of them, as a list."""
    if scheduler is None:
        return []
    return list(scheduler) if isinstance(scheduler, (list, tuple)) else [cast("LRScheduler", scheduler)]
