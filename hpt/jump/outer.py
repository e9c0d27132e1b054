"""The outer step: at the end of a cycle, move the weights along their trend, look, and keep or undo.

    (end_cycle      displacement of K full steps into the trend: see `trajectory`)
    jump            probe -> weight delta within the trust region -> probe -> keep, or undo a blow-up
    undo            the state at the end of the cycle, also later, when the steps after a kept jump speak against it
    begin_cycle     the next displacement counts from the present weights

No loss function and no trainer is needed: whoever drives this says how the loss is measured, or does not measure it.
Everything that happened is in what a call returns.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from hpt.jump.delta import WeightDelta
from hpt.jump.probe import JumpBound
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats
from hpt.jump.survival import Survival
from hpt.jump.trajectory import Trajectory
from hpt.memory.offload import Offload
from hpt.numerics.shards import Shards, local
from hpt.numerics.tensors import moved, shorten

SURVIVED_FRAC = 0.5
"""Of a jump, after the update that follows it: with less than that left, and the weights nearer to where they were
before than that, the optimizer overwrote it. A noisy gradient takes back as much, and leads elsewhere."""

Measure = Callable[[], Sequence[float]]
"""Losses on fixed batches at the present weights; raises whatever the loss function raises."""


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the weights that was made: the delta within the trust region, |delta|, operations spent."""

    delta: WeightDelta
    norm: float
    factor_flops: int


@dataclass(frozen=True, slots=True)
class JumpResult:
    """What became of one weight delta.

    Attributes:
        delta: as applied, inside the trust region.
        norm: |change of the weights|.
        norm_ratio: norm over |displacement of the last cycle|.
        losses_before: probe before the jump; None if it was not measured then.
        losses_after: probe after it; None without a probe.
        kept: still applied.
        reason: why not, or "" if kept.
        factor_flops: floating-point operations spent on orthogonal factors.
    """

    delta: WeightDelta
    norm: float
    norm_ratio: float
    losses_before: Sequence[float] | None
    losses_after: Sequence[float] | None
    kept: bool
    reason: str
    factor_flops: int

    @property
    def loss_before(self) -> float | None:
        """Mean over the probe's batches before the jump."""
        return _mean(self.losses_before)

    @property
    def loss_after(self) -> float | None:
        """Mean over the probe's batches after it."""
        return _mean(self.losses_after)

    @property
    def loss_change(self) -> float | None:
        """Probed loss after minus before; None if not measured on both sides."""
        before, after = self.loss_before, self.loss_after
        return None if before is None or after is None else after - before

    @property
    def loss(self) -> float | None:
        """Loss on the first of the probe's batches at the weights that stand."""
        stands = self.losses_after if self.kept or self.losses_before is None else self.losses_before
        return None if stands is None else stands[0]


class OuterStep:
    """Trajectory, snapshot and bound of one run, and the outer step over them.

    Args:
        trajectory: displacements of the trained parameters.
        take: makes a snapshot of the whole training state in the memory of an earlier one.
        max_ratio: trust region, |jump| over |last displacement|.
        max_rise_frac: see `JumpBound`.
        optimizer_state: tensors that wait on the host while a jump is probed; None: they stay.

    Attributes:
        snapshot: state at the end of the last cycle, None before the first.
        bound: largest tolerated rise of the probed loss.
        around_move: entered around every change of the weights by a jump; for measurements.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        take: Callable[[Snapshot | None], Snapshot],
        *,
        max_ratio: float,
        max_rise_frac: float,
        optimizer_state: Callable[[], Iterable[torch.Tensor]] | None = None,
    ) -> None:
        self.trajectory = trajectory
        self.snapshot: Snapshot | None = None
        self.bound = JumpBound(max_rise_frac)
        self.around_move: Callable[[], AbstractContextManager[Any]] = nullcontext
        self._take = take
        self._max_ratio = max_ratio
        self._optimizer_state = optimizer_state
        self._offload = Offload()
        self._survival: Survival | None = None
        self._jumps_survive = False

    def begin_cycle(self) -> None:
        """The next displacement counts from the present weights."""
        self.trajectory.begin_cycle()

    def take_snapshot(self) -> Snapshot:
        """Keep the present state, in the memory of the last snapshot."""
        self.snapshot = self._take(self.snapshot)
        return self.snapshot

    def undo(self) -> None:
        """Back to the snapshot, exactly; the next displacement counts from there."""
        assert self.snapshot is not None, "there is no state to go back to"
        self.snapshot.restore()
        self.trajectory.begin_cycle()

    def jump(
        self, delta: WeightDelta, stats: CycleStats, measure: Measure | None = None, *, paired: bool = True
    ) -> JumpResult:
        """Move the weights by `delta`, and keep or undo it; the snapshot must be of the last full step.

        Args:
            delta: what is wanted.
            stats: of the cycle that just ended.
            measure: the probe; None: the jump is kept unseen.
            paired: probe before the jump too, so that a rise can be told.

        Raises:
            Exception: whatever `measure` raises; the weights are then as before the call.
        """
        snapshot = self.snapshot
        assert snapshot is not None, "a jump needs a state to go back to"
        snapshot.renew_weights()
        self._survival = None if self._jumps_survive else self._watched()
        try:
            with self._optimizer_away(measure):
                before = measure() if measure is not None and paired else None
                made = self.move(delta, stats)
                after = None if measure is None else measure()
        except BaseException:
            snapshot.restore()  # also on Ctrl-C: a half-applied jump must never be left behind
            raise
        reason = self._objection(before, after)
        if reason:
            snapshot.restore()
        elif self._survival is not None:
            self._survival.jumped()
        self.trajectory.begin_cycle()
        return JumpResult(
            delta=made.delta,
            norm=made.norm,
            norm_ratio=stats.norm_ratio(made.norm),
            losses_before=before,
            losses_after=after,
            kept=not reason,
            reason=reason,
            factor_flops=made.factor_flops,
        )

    def _watched(self) -> Survival:
        return Survival(self.trajectory.parameters, self.trajectory.shards)

    def overwritten_frac(self) -> float | None:
        """Share of the kept jump that the update after it took back, if that left the weights about where they were.

        None if it did not. Once a jump has survived the optimizer is known to let them, and no other is looked at.
        """
        watched, self._survival = self._survival, None
        if watched is None:
            return None
        share, distance = watched.look()
        self._jumps_survive = share >= SURVIVED_FRAC
        return 1.0 - share if distance < SURVIVED_FRAC else None

    def move(self, delta: WeightDelta, stats: CycleStats, before: Sequence[torch.Tensor] | None = None) -> Move:
        """Change the weights by as much of `delta` as the trust region allows.

        Along the plain trend the length is known before; along orthogonal factors, noise or with norms kept it is
        measured after, and what is too long is shortened.

        Args:
            delta: what is wanted.
            stats: of the cycle that just ended.
            before: the weights as they are, copied, or what lies of them here; None: the snapshot has them.
        """
        limit = self._max_ratio * stats.displacement_norm
        norm = stats.delta_norm(delta)
        if math.isfinite(norm) and norm > limit:
            delta, norm = delta.shortened(limit / norm), limit
        factors = delta.orthogonal and delta.gain != 0.0 and bool(self.trajectory.matrices)
        with self.around_move():
            self.trajectory.apply(delta, noise_norm=stats.displacement_norm)
            if factors or delta.keeps_norm or delta.noise_seed is not None:
                delta, norm = self._measured(delta, limit, self._kept() if before is None else before)
        return Move(delta, norm, self.trajectory.factor_flops if factors else 0)

    def _kept(self) -> list[torch.Tensor]:
        assert self.snapshot is not None, "a jump starts at a snapshot"
        return [self.snapshot.kept(parameter) for parameter in self.trajectory.parameters]

    def _measured(self, delta: WeightDelta, limit: float, before: Sequence[torch.Tensor]) -> tuple[WeightDelta, float]:
        """The delta as it came to be, and its length, once it is no longer than `limit`."""
        parameters, shards = self.trajectory.parameters, self.trajectory.shards
        weights = [local(one) for one in parameters]
        if delta.keeps_norm:
            _keep_norms(weights, before, parameters, shards)
        counted = [place for place, one in enumerate(parameters) if shards.count(one)]
        norm = shards.norm(moved([weights[place] for place in counted], [before[place] for place in counted]))
        if norm <= limit:
            return delta, norm
        shorten(weights, before, limit / norm)
        if delta.keeps_norm:
            _keep_norms(weights, before, parameters, shards)
        return delta.shortened(limit / norm), limit

    def _objection(self, before: Sequence[float] | None, after: Sequence[float] | None) -> str:
        """Why the jump cannot stay: not finite, or a rise beyond the learned bound. Empty when it can."""
        if after is not None and not all(math.isfinite(loss) for loss in after):
            return "loss is not finite after the jump"
        level, later = _mean(before), _mean(after)
        if level is None or later is None:
            return ""
        bound = self.bound.at(level)
        return f"loss rose by {later - level:.4g}, above the bound {bound:.4g}" if later - level > bound else ""

    def _optimizer_away(self, measure: Measure | None) -> AbstractContextManager[None]:
        """Inside, the optimizer's state is on the host, if that is asked for and there is a probe to make room for."""
        if self._optimizer_state is None or measure is None:
            return nullcontext()
        return self._offload.away(self._optimizer_state())

    def state_dict(self) -> dict[str, Any]:
        """Trajectory and bound; the snapshot is the business of whoever stores the training state."""
        return {"trajectory": self.trajectory.state_dict(), "bound": self.bound.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.trajectory.load_state_dict(state["trajectory"])
        self.bound.load_state_dict(state["bound"])


@torch.no_grad()
def _keep_norms(
    weights: Sequence[torch.Tensor],
    before: Sequence[torch.Tensor],
    parameters: Sequence[torch.Tensor],
    shards: Shards,
) -> None:
    """Bring every matrix, table or filter bank back to the Frobenius norm it had: the jump becomes tangential.

    Args:
        weights: what lies here of the parameters.
        before: what lay here before the jump.
        parameters: see `weights`.
        shards: the processes that hold the rest.
    """
    matrices = [place for place, one in enumerate(parameters) if one.ndim >= 2]
    pieces = [each[place] for each in (weights, before) for place in matrices]
    norms = shards.norms([one.detach() for one in pieces], [parameters[place] for place in matrices] * 2)
    for place, now, then in zip(matrices, norms, norms[len(matrices) :], strict=False):
        kept, least = then.to(now.device, now.dtype), torch.finfo(now.dtype).tiny
        factor = torch.where(now > least, kept / now.clamp(min=least), torch.ones_like(now))
        weights[place].data.mul_(factor.to(weights[place].device))


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else sum(values) / len(values)
