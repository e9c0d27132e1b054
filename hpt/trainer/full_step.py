"""The ordinary training step: forward, backward, accumulate, clip, update.

With guards off this is, operation for operation, the loop a user would write by hand, so that `predictor="none"` is
bit-identical to it. With guards on it also measures gradient norms. Where numbers are read at every step it refuses an
update whose loss or gradient is not finite, putting the model's buffers back as they were; where they are read once a
cycle, nothing here waits for the device.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import UpdateConfig
from hpt.distributed.wrappers import drop_unsent, fully_sharded, gradients_stay
from hpt.errors import HptError, ModelError
from hpt.jump.batch import BatchSpent, KeptBatch
from hpt.jump.parameters import ParameterSet
from hpt.jump.reach import reach
from hpt.jump.snapshot import BufferGuard
from hpt.numerics.rng import set_torch_rng_state, torch_rng_state
from hpt.numerics.shards import clip_
from hpt.optimizers.inner import InnerOptimizer
from hpt.records import DeferredNumber
from hpt.trainer.ledger import Ledger
from hpt.trainer.precision import Precision
from hpt.trainer.readings import Row, device_row, gradient_norms, loss_of_row, norm_of_row

LossFunction = Callable[[torch.nn.Module, Any], torch.Tensor]

SCALE_LOWERED = "loss scale lowered"
"""Fault of an update that the gradient scaler skipped, which is no divergence."""


class SchedulerError(HptError):
    """A scheduler raised after an update; the update itself is complete."""


@dataclass(frozen=True, slots=True)
class FullOutcome:
    """What one micro-batch brought.

    Attributes:
        read_loss: loss of the update's micro-batches so far, averaged.
        read_grad_norm: global norm before clipping; None where no update was due or it was not measured, as where
            weights lie in pieces and nothing is clipped.
        updated: the optimizer made an update.
        row: what the history will want of the step, see `readings`; None without guards or update.
        fault: why an update that was due did not happen, else None.
        batches: the update's micro-batches, to be had again; none without guards or update.
    """

    read_loss: Callable[[], float]
    read_grad_norm: Callable[[], float] | None
    updated: bool
    row: Row | None = None
    fault: str | None = None
    batches: Sequence[KeptBatch] = ()


class FullStep:
    """Runs micro-batches; every `accumulation_steps`-th makes an optimizer update.

    Args:
        model: trained in place.
        optimizer: over its parameters.
        loss_fn: (model, batch) -> scalar tensor, the mean over the batch.
        schedulers: each stepped once per update, in order.
        precision: autocast and loss scaling.
        config: accumulation and clipping.
        ledger: counts and laps.
        parameters: looked at again before every update.
        on_change: called when they are others than at the update before.
        guarded: check losses and gradients, and measure norms.
        reads_at_once: losses and norms are read at every update, so that a bad one can be refused.

    Attributes:
        lr_factor: on every group's learning rate, for this update only.
        stepping: an optimizer update has begun and not ended.
        pending: micro-batches of the update in progress; None for one that cannot be had again.
        untouched: the loss of the last update reached no weight.
        reach: what the loss function holds on to.
        buffers: of the model and of that, as they were before the update.
    """

    def __init__(  # noqa: PLR0913 (each a collaborator named in the docstring)
        self,
        model: torch.nn.Module,
        optimizer: InnerOptimizer,
        loss_fn: LossFunction,
        schedulers: Sequence[LRScheduler],
        precision: Precision,
        config: UpdateConfig,
        ledger: Ledger,
        *,
        parameters: ParameterSet,
        on_change: Callable[[], None],
        guarded: bool,
        reads_at_once: bool,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.schedulers = schedulers
        self.precision = precision
        self.lr_factor = 1.0
        self.stepping = False
        self.untouched = False
        self._clip_norm = config.clip_norm
        self._num_parts = config.accumulation_steps
        self._ledger = ledger
        self._parameters = parameters
        self._sharded = fully_sharded(model)
        self._on_change = on_change
        self._guarded = guarded
        self._reads_at_once = reads_at_once
        self.reach = reach(loss_fn, model)
        self.buffers = BufferGuard(model, self.reach.modules)
        self.pending: list[KeptBatch | None] = []
        self._losses: list[torch.Tensor] = []
        self._rng: dict[str, torch.Tensor] = {}

    @property
    def accumulating(self) -> bool:
        """An update is under way: some of its micro-batches were seen."""
        return bool(self.pending)

    def run(self, batch: Any) -> FullOutcome:
        """One micro-batch, and the update when it is due.

        Where guarded, an error gives the whole update up, as a loop does that goes on with `zero_grad` after it: the
        next batch is the first micro-batch of another, in several processes, too, if it was raised in all.

        Raises:
            ModelError: the loss is not a scalar tensor.
        """
        if not self.pending:
            self._clear()
            self._rng = torch_rng_state() if self._guarded else {}
        self.pending.append(KeptBatch(batch) if self._guarded else None)
        is_last = len(self.pending) == self._num_parts
        with nullcontext() if is_last else gradients_stay(self.model, self._sharded):
            self._backward(batch)
        if len(self.pending) < self._num_parts:
            return FullOutcome(_mean_of(self._losses), None, updated=False)
        if self._parameters.refresh_for_update(clips=self._clip_norm is not None):
            self._on_change()
        outcome = self._guarded_update() if self._guarded else self._plain_update()
        self.forget()
        return outcome

    def _clear(self) -> None:
        """An update begins: nothing is left of one that was given up."""
        self.optimizer.zero_grad()
        if self._num_parts > 1:
            drop_unsent(self._sharded)
        self._losses = []

    def rerun(self) -> FullOutcome:
        """Run the pending micro-batches again from the first, after one of them failed half-way.

        Torch's random streams start again from where the update began, and so do the buffers, unless the
        optimizer had begun: then the weights were rolled back, and the buffers with them.

        Raises:
            BatchSpent: one of them cannot be had again.
        """
        if None in self.pending:
            raise BatchSpent("the checkpoint could not hold the batch")
        batches, self.pending = [one.again() for one in self.pending if one is not None], []
        self._losses = []
        if not self.stepping:
            self.buffers.restore()
        if self._rng:
            set_torch_rng_state(self._rng)
        self.stepping = False
        outcome: FullOutcome | None = None
        for batch in batches:
            outcome = self.run(batch)
        assert outcome is not None, "nothing to run again"
        return outcome

    def forget(self) -> None:
        """Drop gradients-in-progress; the next micro-batch starts an update."""
        self.pending = []
        self._losses = []
        self.stepping = False

    def begin_anew(self) -> None:
        """Forget them, and let go of them at once."""
        self.forget()
        self._clear()

    def loss_of(self, batch: Any) -> torch.Tensor:
        """Forward pass under the precision policy; checks that a scalar came back."""
        with self.precision.forward_context():
            loss = self.loss_fn(self.model, batch)
        self._ledger.counters.forwards += 1
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            found = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ModelError(f"loss_fn returned {found}, it must be a scalar tensor; reduce it, for example by .mean()")
        return loss

    def _backward(self, batch: Any) -> None:
        if self._guarded and len(self.pending) == 1:
            self.buffers.save()
        loss = self.loss_of(batch)
        self._ledger.lap("forward")
        parts = self._num_parts
        scaled = self.precision.scale(loss if parts == 1 else loss / parts)
        scaled.backward()
        self._ledger.counters.backwards += 1
        self._losses.append(loss.detach().reshape(()))
        self._ledger.lap("backward")

    def _plain_update(self) -> FullOutcome:
        """Exactly what a hand-written loop does, and nothing else."""
        norm = None
        self.precision.unscale(self.optimizer)
        if self._clip_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(self._parameters.clipped, self._clip_norm)
        read_loss = _mean_of(self._losses)
        updated = self._step_optimizer()
        return FullOutcome(read_loss, None if norm is None else DeferredNumber(norm.item), updated=updated)

    def _guarded_update(self) -> FullOutcome:
        self.precision.unscale(self.optimizer)
        device_row, total = self._clip()
        row: Row = device_row
        read_loss: Callable[[], float] = _mean_of(self._losses)
        read_norm = self._deferred_norm(device_row, total)
        if self._reads_at_once:
            row = device_row.tolist()
            loss, norm = loss_of_row(row, self._num_parts), norm_of_row(row, self._num_parts)
            read_loss, read_norm = lambda: loss, lambda: norm
            if not math.isfinite(loss) or (not math.isfinite(norm) and self.precision.scaler is None):
                return self._skip(read_loss, read_norm, "gradient" if math.isfinite(loss) else "loss")
        if self._step_optimizer():
            return FullOutcome(read_loss, read_norm, updated=True, row=row, batches=self._kept())
        self.buffers.restore()
        return FullOutcome(read_loss, read_norm, updated=False, fault=SCALE_LOWERED)

    def _deferred_norm(self, row: torch.Tensor, total: torch.Tensor | None) -> Callable[[], float] | None:
        """Norm of all gradients, read when it is asked for; of pieces it is known where it was needed for clipping."""
        if self._parameters.shards.exist:
            return None if total is None else DeferredNumber(total.item)
        return DeferredNumber(lambda: norm_of_row(row.tolist(), self._num_parts))

    def _skip(self, read_loss: Callable[[], float], read_norm: Callable[[], float] | None, what: str) -> FullOutcome:
        self.buffers.restore()
        self.optimizer.zero_grad()
        self._ledger.counters.updates_skipped += 1
        return FullOutcome(read_loss, read_norm, updated=False, fault=f"{what} is not finite", batches=self._kept())

    def _kept(self) -> list[KeptBatch]:
        return [one for one in self.pending if one is not None]

    def _clip(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Clip; one row on the device, see `readings`, and the norm of all gradients if it was needed, from before."""
        gradients = gradient_norms(self._parameters.clipped, self._losses[0])
        self.untouched = not gradients.touched
        total: torch.Tensor | None = None
        if self._clip_norm is not None:
            total = self._parameters.shards.total_norm(gradients.norms, gradients.touched)
            clip_(gradients.values, self._clip_norm, total)
        losses = self._losses[0].reshape(1) if self._num_parts == 1 else torch.stack(self._losses)
        return device_row(losses, gradients), total

    def _step_optimizer(self) -> bool:
        """Update the weights at lr x lr_factor, then advance the schedulers.

        Raises:
            SchedulerError: one of them raised; the update itself is complete.
        """
        rates: list[Any] = []
        if self.lr_factor != 1.0:
            rates = [group["lr"] for group in self.optimizer.param_groups]
            self._set_lr([rate * self.lr_factor for rate in rates])
        self.stepping = True
        try:
            updated = self.precision.step(self.optimizer)
        finally:
            if rates:
                self._set_lr(rates)
        self.stepping = False
        self._ledger.counters.optimizer_updates += int(updated)
        self._ledger.lap("optimizer")
        if updated:
            self._step_schedulers()
        return updated

    def _step_schedulers(self) -> None:
        try:
            for one in self.schedulers:
                one.step()
        except Exception as error:
            self.forget()
            raise SchedulerError(
                f"scheduler.step() raised {type(error).__name__}: {error}; the update before it is complete, "
                "give the scheduler as many steps as the run has, or none"
            ) from error

    def _set_lr(self, rates: Sequence[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Gradients of an update in progress or that no update clears, and what the micro-batches so far gave."""
        return {"pending": len(self.pending), "lr_factor": self.lr_factor, **self.progress()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; the batches are given back apart from it."""
        self.pending = [None] * int(state["pending"])
        self.lr_factor = float(state["lr_factor"])
        self.load_progress(state)

    def progress(self) -> dict[str, Any]:
        """Of that what each of several processes has of its own: losses and gradients not yet sent."""
        cleared = {id(p) for p in self.optimizer.parameters} if not self.pending else ()
        grads = [None if id(p) in cleared else p.grad for p in self._parameters.every]
        return {"losses": list(self._losses), "grads": grads}

    def load_progress(self, state: Mapping[str, Any]) -> None:
        """Inverse of `progress`."""
        parameters = self._parameters.every
        self._losses = [loss.to(parameters[0].device) for loss in state["losses"]]
        for parameter, grad in zip(parameters, state["grads"], strict=True):
            parameter.grad = None if grad is None else grad.to(parameter.device, parameter.dtype)


def _mean_of(losses: list[torch.Tensor]) -> DeferredNumber:
    """Mean of losses that lie on a device; the tensors are taken now, the numbers when they are asked for."""
    taken = list(losses)
    return DeferredNumber(lambda: sum(float(one) for one in taken) / len(taken))
