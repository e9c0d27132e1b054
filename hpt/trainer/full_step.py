"""The ordinary training step: forward, backward, accumulate, clip, update.

With guards off this is, operation for operation, the loop a user would write by hand, so that `predictor="none"` is
bit-identical to it. With guards on it also measures gradient norms and refuses an update whose loss or gradient is
not finite, putting the model's buffers back as they were.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from hpt.config import UpdateConfig
from hpt.control.clipping import AdaptiveClipper
from hpt.errors import HptError, ModelError
from hpt.numerics.rng import set_torch_rng_state, torch_rng_state
from hpt.numerics.tensors import norms_of, scale_
from hpt.trainer.ledger import Ledger
from hpt.trainer.precision import Precision
from hpt.trainer.snapshot import BufferGuard

LossFunction = Callable[[torch.nn.Module, Any], torch.Tensor]


class SchedulerError(HptError):
    """The scheduler raised after an update; the update itself is complete."""


@dataclass(frozen=True, slots=True)
class FullOutcome:
    """What one micro-batch brought.

    Attributes:
        loss: loss of the update's micro-batches so far, averaged.
        grad_norm: global norm before clipping; None where no update was due or guards are off.
        group_grad_norms: the same by parameter group.
        updated: the optimizer made an update.
        fault: why an update that was due did not happen, else None.
    """

    loss: float
    grad_norm: float | None
    group_grad_norms: tuple[float, ...]
    updated: bool
    fault: str | None = None


class FullStep:
    """Runs micro-batches; every `accumulation_steps`-th makes an optimizer update.

    Args:
        model: trained in place.
        optimizer: any torch optimizer over its parameters.
        loss_fn: (model, batch) -> scalar tensor, the mean over the batch.
        scheduler: stepped once per update, or None.
        precision: autocast and loss scaling.
        config: accumulation and clipping.
        ledger: counts and laps.
        guarded: check losses and gradients, and measure norms.

    Attributes:
        groups: trained parameters of each optimizer group, as they were at construction.
        clipped: all that a hand-written loop would clip, in its order (it matters to the last bit of the norm).
        lr_factor: on every group's learning rate, for this update only.
        clip_norm: limit of the global gradient norm, None for none.
        stepping: an optimizer update has begun and not ended.
    """

    def __init__(  # noqa: PLR0913 (each a collaborator named in the docstring)
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_fn: LossFunction,
        scheduler: LRScheduler | None,
        precision: Precision,
        config: UpdateConfig,
        ledger: Ledger,
        *,
        guarded: bool,
        clipper: AdaptiveClipper | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.scheduler = scheduler
        self.precision = precision
        self.lr_factor = 1.0
        self.clip_norm = config.clip_norm
        self.stepping = False
        self._config = config
        self._ledger = ledger
        self._guarded = guarded
        self._clipper = clipper
        self._buffers = BufferGuard(model)
        self._pending: list[Any] = []
        self._losses: list[float] = []
        self._rng: dict[str, torch.Tensor] = {}
        self.groups = _trained_groups(optimizer)
        self.clipped = _clipped(model, self.groups)
        self._members = _places(self.groups, self.clipped)

    @property
    def lr(self) -> float:
        """Learning rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def accumulating(self) -> bool:
        """An update is under way: some of its micro-batches were seen."""
        return bool(self._pending)

    def run(self, batch: Any) -> FullOutcome:
        """One micro-batch, and the update when it is due.

        Raises:
            ModelError: the loss is not a scalar tensor.
        """
        if not self._pending:
            self.optimizer.zero_grad(set_to_none=True)
            self._losses = []
            self._rng = torch_rng_state() if self._guarded else {}
        self._pending.append(batch)
        self._backward(batch)
        if len(self._pending) < self._config.accumulation_steps:
            return FullOutcome(math.nan if not self._losses else _mean(self._losses), None, (), updated=False)
        outcome = self._update()
        self.forget()
        return outcome

    def rerun(self) -> FullOutcome:
        """Run the pending micro-batches again from the first, after one of them failed half-way.

        Random streams start again from where the update began, and so do the model's buffers, unless the
        optimizer had begun: then the weights were rolled back, and the buffers with them.
        """
        batches, self._pending = self._pending, []
        self._losses = []
        if not self.stepping:
            self._buffers.restore()
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
        self._pending = []
        self._losses = []
        self.stepping = False

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
        if self._guarded and len(self._pending) == 1:
            self._buffers.save()
        loss = self.loss_of(batch)
        self._ledger.lap("forward")
        parts = self._config.accumulation_steps
        scaled = self.precision.scale(loss if parts == 1 else loss / parts)
        scaled.backward()
        self._ledger.counters.backwards += 1
        self._losses.append(float(loss.detach()))
        self._ledger.lap("backward")

    def _update(self) -> FullOutcome:
        if not self._guarded:
            return self._plain_update()
        loss = _mean(self._losses)
        self.precision.unscale(self.optimizer)
        total, by_group = self._clip()
        scaled = self.precision.scaler is not None
        if not math.isfinite(loss) or (not math.isfinite(total) and not scaled):
            return self._skip(loss, total, by_group)
        updated = self._step_optimizer()
        if not updated:
            self._buffers.restore()
        fault = None if updated else "loss scale lowered"
        return FullOutcome(loss, total, by_group, updated=updated, fault=fault)

    def _plain_update(self) -> FullOutcome:
        """Exactly what a hand-written loop does, and nothing else."""
        norm = None
        self.precision.unscale(self.optimizer)
        if self.clip_norm is not None:
            norm = float(torch.nn.utils.clip_grad_norm_(self.clipped, self.clip_norm))
        updated = self._step_optimizer()
        return FullOutcome(_mean(self._losses), norm, (), updated=updated)

    def _skip(self, loss: float, total: float, by_group: tuple[float, ...]) -> FullOutcome:
        self._buffers.restore()
        self.optimizer.zero_grad(set_to_none=True)
        self._ledger.counters.updates_skipped += 1
        what = "loss" if not math.isfinite(loss) else "gradient"
        return FullOutcome(loss, total, by_group, updated=False, fault=f"{what} is not finite")

    def _clip(self) -> tuple[float, tuple[float, ...]]:
        """Gradient norms before clipping, global and by group, with one transfer to the host; then clip."""
        clipped = [p for p in self.clipped if p.grad is not None]
        if not clipped:
            raise ModelError("no parameter received a gradient; check that loss_fn uses the model it is given")
        complete = len(clipped) == len(self.clipped)
        members = self._members if complete else _places(self.groups, clipped)
        grads = [_dense(p) for p in clipped]
        norms = _side_by_side(norms_of(grads))
        total = torch.linalg.vector_norm(norms)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(clipped, self.clip_norm, total)
        values = torch.cat([norms.float(), total.float().reshape(1)]).tolist()
        by_group = tuple(math.sqrt(sum(values[i] ** 2 for i in group)) for group in members)
        if self._clipper is not None:
            self._clip_adaptively([[grads[i] for i in group] for group in members], by_group)
        return values[-1], by_group

    def _clip_adaptively(self, grads: Sequence[Sequence[torch.Tensor]], norms: tuple[float, ...]) -> None:
        assert self._clipper is not None
        weights = [
            math.sqrt(sum(float(n) ** 2 for n in norms_of([p.detach() for p in group]))) for group in self.groups
        ]
        limit = self.clip_norm
        total = math.sqrt(sum(norm * norm for norm in norms))
        clipped = 1.0 if limit is None or total <= limit else limit / total
        now = tuple(norm * clipped for norm in norms)
        for factor, group in zip(self._clipper.factors(now, tuple(weights)), grads, strict=True):
            if factor < 1.0:
                scale_(group, factor)

    def _step_optimizer(self) -> bool:
        """Update the weights at lr x lr_factor, then advance the scheduler.

        Raises:
            SchedulerError: the scheduler raised; the update itself is complete.
        """
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.lr_factor != 1.0:
            self._set_lr([rate * self.lr_factor for rate in rates])
        self.stepping = True
        try:
            updated = self.precision.step(self.optimizer)
        finally:
            if self.lr_factor != 1.0:
                self._set_lr(rates)
        self.stepping = False
        self._ledger.counters.optimizer_updates += int(updated)
        self._ledger.lap("optimizer")
        if self.scheduler is not None and updated:
            try:
                self.scheduler.step()
            except Exception as error:
                self.forget()
                raise SchedulerError(
                    f"scheduler.step() raised {type(error).__name__}: {error}; the update before it is complete, "
                    "give the scheduler as many steps as the run has, or none"
                ) from error
        return updated

    def _set_lr(self, rates: Sequence[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Gradients of an update in progress, and what the micro-batches so far gave."""
        grads = [p.grad for group in self.groups for p in group] if self._pending else []
        return {
            "losses": list(self._losses),
            "pending": len(self._pending),
            "grads": grads,
            "lr_factor": self.lr_factor,
            "clip_norm": self.clip_norm,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; batches already consumed are not kept, only their gradients."""
        self._losses = [float(loss) for loss in state["losses"]]
        self._pending = [None] * int(state["pending"])
        self.lr_factor = float(state["lr_factor"])
        self.clip_norm = None if state["clip_norm"] is None else float(state["clip_norm"])
        parameters = [p for group in self.groups for p in group]
        for parameter, grad in zip(parameters, state["grads"] or [None] * len(parameters), strict=True):
            parameter.grad = None if grad is None else grad.to(parameter.device, parameter.dtype)


def _trained_groups(optimizer: torch.optim.Optimizer) -> list[list[torch.nn.Parameter]]:
    return [[p for p in group["params"] if p.requires_grad] for group in optimizer.param_groups]


def _clipped(model: torch.nn.Module, groups: list[list[torch.nn.Parameter]]) -> list[torch.nn.Parameter]:
    """The model's parameters, then those that only the optimizer knows."""
    owned = [p for group in groups for p in group]
    unique = {id(p): p for p in (*model.parameters(), *owned) if p.requires_grad}
    return list(unique.values())


def _places(groups: list[list[torch.nn.Parameter]], clipped: list[torch.nn.Parameter]) -> list[list[int]]:
    """For each group, where its parameters stand among `clipped`."""
    place = {id(p): index for index, p in enumerate(clipped)}
    return [[place[id(p)] for p in group if id(p) in place] for group in groups]


def _side_by_side(scalars: list[torch.Tensor]) -> torch.Tensor:
    """One vector, on the first one's device."""
    device = scalars[0].device
    if any(one.device != device for one in scalars):
        scalars = [one.to(device) for one in scalars]
    return torch.stack(scalars)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _dense(parameter: torch.nn.Parameter) -> torch.Tensor:
    """The gradient's values; a sparse gradient is coalesced first, so that its values stand for the whole of it."""
    grad = parameter.grad
    assert grad is not None
    if not grad.is_sparse:
        return grad
    parameter.grad = grad.coalesce()
    return parameter.grad.values()
