"""What prediction adds to memory, on fake tensors: trajectory, snapshot, the end of a cycle and the jump.

On the host everything lies side by side. For CUDA trajectory and snapshot are pinned on the host by default, and what
is left of them on the device are copies of one parameter at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from hpt.memory import tracking
from hpt.memory.fakes import outside_fakes
from hpt.memory.tracking import Tracker
from hpt.numerics.orthogonal import has_factor, orthogonal_factor
from hpt.numerics.tensors import compute_dtype, real_view, storage_dtype

KEPT_BATCHES = 3
"""Of earlier steps, on which broken weights are told from changed data."""

Row = tuple[torch.nn.Parameter, torch.Tensor, torch.Tensor]
"""A parameter, where it began and its trend."""


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
        views = [real_view(one) for one in trained]
        dtypes = [storage_dtype(one.dtype, half=self._copies.half) for one in views]
        if self._copies.trajectory_here:
            return [torch.empty_like(one, dtype=dtype) for one, dtype in zip(views, dtypes, strict=True)]
        with outside_fakes():  # of which no operator is run; fake ones take longer to make
            pairs = zip(views, dtypes, strict=True)
            return [torch.empty(one.shape, dtype=dtype, device="meta") for one, dtype in pairs]

    def take_snapshot(
        self, tensors: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor], batch: Sequence[torch.Tensor]
    ) -> None:
        """Copy all training state; and the buffers again, which every update puts back. Batches stay where they are."""
        self.snapshot_bytes = sum(one.nbytes for one in tensors)
        beside = [*buffers, *(one for one in batch for _ in range(KEPT_BATCHES))]
        here = tensors if self._copies.snapshot_here else []
        self._kept = [torch.empty_like(one, requires_grad=False) for one in (*beside, *here)]
        self._tracker.count_as(tracking.SNAPSHOT, self._kept)

    def _runs(self) -> list[list[Row]]:
        """Parameters whose work one after the other needs as much as that of all.

        It depends on the parameter and on the one before it, whose temporaries are still there: so each pair of two
        forms is enough once. Where number formats are mixed, temporaries may be older, and all are one run.
        """
        rows = list(zip(self._trained, self._start, self._trend, strict=True))
        if len(rows) < 2 or len({one.dtype for one in self._trained}) > 1:
            return [rows]
        forms = [(one.shape, one.stride(), id(one) in self._as_they_are) for one in self._trained]
        pairs: dict[object, list[Row]] = {}
        for both, run in zip(pairwise(forms), pairwise(rows), strict=True):
            pairs.setdefault(both, list(run))
        return list(pairs.values())

    @torch.no_grad()
    def end_cycle(self) -> None:
        """The displacement of one parameter at a time, and its copies where they lie elsewhere."""
        for run in self._runs():
            self._end_cycle(run)

    def _end_cycle(self, rows: Sequence[Row]) -> None:
        for parameter, start, trend in rows:
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
        for run in self._runs():
            self._jump(run)

    def _jump(self, rows: Sequence[Row]) -> None:
        for parameter, start, _ in rows:
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
