"""What prediction adds to memory, on fake tensors: trajectory, snapshot, the end of a cycle and the jump.

On the host everything lies side by side. For CUDA trajectory and snapshot are pinned on the host by default, and what
is left of them on the device are copies of one parameter at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from hpt.memory import tracking
from hpt.memory.tracking import Tracker
from hpt.numerics.orthogonal import has_factor, orthogonal_factor
from hpt.numerics.tensors import compute_dtype, real_view, storage_dtype

KEPT_BATCHES = 3
"""Of earlier steps, on which broken weights are told from changed data."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Where prediction keeps what it needs.

    Attributes:
        trajectory_here: its two copies lie beside the weights, not on another device.
        snapshot_here: likewise.
        half: the trajectory is stored in bf16.
    """

    trajectory_here: bool
    snapshot_here: bool
    half: bool = False


class Prediction:
    """Copies of the trained parameters, and the work on them.

    Args:
        copies: where they are.
        trained: fake parameters.
        as_they_are: those whose orthogonal factor no jump follows.
        tracker: counts them.

    Attributes:
        trajectory_bytes: where the cycle began and the trend, wherever they are.
        snapshot_bytes: likewise; 0 until it is taken.
    """

    def __init__(
        self,
        copies: Copies,
        trained: Sequence[torch.nn.Parameter],
        as_they_are: Iterable[torch.nn.Parameter],
        tracker: Tracker,
    ) -> None:
        self._copies, self._trained, self._tracker = copies, trained, tracker
        self._as_they_are = set(map(id, as_they_are))
        self._start, self._trend = (self._stored(trained) for _ in range(2))
        self.trajectory_bytes = sum(one.nbytes for one in (*self._start, *self._trend))
        self.snapshot_bytes = 0
        self._kept: list[torch.Tensor] = []
        if copies.trajectory_here:
            tracker.count_as(tracking.TRAJECTORY, [*self._start, *self._trend])

    def _stored(self, trained: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
        device = "cpu" if self._copies.trajectory_here else "meta"
        views = [real_view(one) for one in trained]
        return [
            torch.empty_like(one, dtype=storage_dtype(one.dtype, half=self._copies.half), device=device)
            for one in views
        ]

    def take_snapshot(
        self, tensors: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor], batch: Sequence[torch.Tensor]
    ) -> None:
        """Copy all training state; and the buffers again, which every update puts back. Batches stay where they are."""
        device = "cpu" if self._copies.snapshot_here else "meta"
        kept = [torch.empty_like(one, device=device, requires_grad=False) for one in tensors]
        self.snapshot_bytes = sum(one.nbytes for one in kept)
        beside = [*buffers, *(one for one in batch for _ in range(KEPT_BATCHES))]
        self._kept = [torch.empty_like(one) for one in beside] + (kept if self._copies.snapshot_here else [])
        self._tracker.count_as(tracking.SNAPSHOT, self._kept)

    @torch.no_grad()
    def end_cycle(self) -> None:
        """The displacement of one parameter at a time, and its copies where they lie elsewhere."""
        for parameter, start, trend in zip(self._trained, self._start, self._trend, strict=True):
            wide = compute_dtype(start.dtype)
            weights = real_view(parameter).to(wide)
            displacement = weights - self._fetched(start, weights)
            _rows = displacement, self._fetched(trend, weights)
            del _rows
            if self._copies.trajectory_here:
                trend.lerp_(displacement.to(trend.dtype), 0.5)

    def _fetched(self, stored: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return stored.to(like.dtype) if self._copies.trajectory_here else torch.empty_like(like)

    @torch.no_grad()
    def jump(self) -> None:
        """The copies of one parameter at a time that adding to it takes."""
        for parameter, start in zip(self._trained, self._start, strict=True):
            weights = real_view(parameter)
            wide = compute_dtype(start.dtype)
            is_direct = self._copies.trajectory_here and start.dtype == weights.dtype
            direction = weights if is_direct else torch.empty_like(weights, dtype=wide)
            if has_factor(direction) and id(parameter) not in self._as_they_are:
                direction = orthogonal_factor(direction)
            if not is_direct:
                target = weights.to(wide, copy=True)
                target.add_(direction)
                weights.copy_(target)
