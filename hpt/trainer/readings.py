"""Numbers of full steps on their way from the device to the history, a row a step.

    [loss of each micro-batch ..., gradient norm of each parameter ...]

A row is a list where numbers are read at once, a tensor on the device where they are read once a cycle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hpt.jump.gram import to_host
from hpt.jump.stats import FloatArray
from hpt.numerics.shards import NO_SHARDS, Shards, local
from hpt.numerics.tensors import norms_of

Row = list[float] | torch.Tensor


@dataclass(frozen=True, slots=True)
class GradientNorms:
    """Norms of the gradients of n parameters, on a device.

    Attributes:
        touched: the parameters that have a gradient.
        values: of these gradients, where they lie; of pieces what lies here.
        norms: of these, (m,); of pieces those that lie here.
        each: (n,) norms, 0 for one that has none.
    """

    touched: list[torch.nn.Parameter]
    values: list[torch.Tensor]
    norms: torch.Tensor
    each: torch.Tensor


class StepReadings:
    """Rows of the steps that the history has not taken in yet.

    Args:
        groups: trained parameters of each optimizer group.
        clipped: the parameters in the order of a row.
        num_losses: micro-batches in an update.
        shards: the processes that hold pieces of the parameters; norms are then of what counts here.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[torch.nn.Parameter]],
        clipped: Sequence[torch.nn.Parameter],
        num_losses: int,
        shards: Shards = NO_SHARDS,
    ) -> None:
        self._counts = np.array([float(shards.count(one)) for one in clipped]) if shards.exist else None
        place = {id(parameter): index for index, parameter in enumerate(clipped)}
        self._members = [[place[id(parameter)] for parameter in group] for group in groups]
        self._num_losses = num_losses
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Keep the row of one step."""
        self._rows.append(row)

    @property
    def newest_loss(self) -> float | None:
        """Loss of the last step; None where it still lies on a device."""
        row = self._rows[-1] if self._rows else None
        return loss_of_row(row, self._num_losses) if isinstance(row, list) else None

    @property
    def unread(self) -> list[Row]:
        """The rows so far."""
        return list(self._rows)

    def restore(self, rows: Sequence[Row]) -> None:
        """Rows that `unread` gave."""
        self._rows = list(rows)

    def clear(self) -> None:
        """Forget them: the steps were undone."""
        self._rows = []

    def drain(self, others: Sequence[torch.Tensor] = ()) -> tuple[FloatArray, FloatArray]:
        """Every row so far, and other tensors wanted of the device now, with one transfer; then forget the rows.

        Args:
            others: tensors of one shape.

        Returns:
            Loss, gradient norm and group norms (n, 2 + G), and the other tensors (m, ...).
        """
        rows, self._rows = self._rows, []
        on_device = [row for row in rows if isinstance(row, torch.Tensor)]
        if not on_device or not others or any(one.device != on_device[0].device for one in others):
            read = torch.stack(on_device).tolist() if on_device else rows
            return self._converted(read), to_host(others) if others else np.zeros(0)
        flat = torch.cat([*on_device, *(one.reshape(-1) for one in others)]).tolist()
        size = len(on_device[0])
        read = [flat[first : first + size] for first in range(0, size * len(rows), size)]
        return self._converted(read), np.array(flat[size * len(rows) :]).reshape(len(others), *others[0].shape)

    def _converted(self, rows: Sequence[Row]) -> FloatArray:
        if not rows:
            return np.zeros((0, 2 + len(self._members)))
        raw = np.array(rows)
        losses, squares = raw[:, : self._num_losses], np.square(raw[:, self._num_losses :])
        if self._counts is not None:
            squares *= self._counts
        loss = _sum(losses) / self._num_losses
        groups = [np.sqrt(_sum(squares[:, places])) for places in self._members]
        return np.column_stack((loss, np.sqrt(_sum(squares)), *groups))


def _sum(numbers: FloatArray) -> FloatArray:
    """Of each row (n, m), from left to right, so that one step read by itself gives the same bits."""
    return numbers.cumsum(axis=1)[:, -1] if numbers.shape[1] else np.zeros(len(numbers))


def norm_of_row(row: Sequence[float], num_losses: int) -> float:
    """Norm of all gradients."""
    return math.sqrt(sum(one * one for one in row[num_losses:]))


def loss_of_row(row: Sequence[float], num_losses: int) -> float:
    """Mean of the micro-batches' losses."""
    return row[0] if num_losses == 1 else sum(row[:num_losses]) / num_losses


def gradient_norms(parameters: Sequence[torch.nn.Parameter], like: torch.Tensor) -> GradientNorms:
    """Norms of the gradients as they are now; without any they are of the type and device of `like`.

    Args:
        parameters: trained.
        like: see above.
    """
    touched = [p for p in parameters if p.grad is not None]
    values = [_dense(p) for p in touched]
    norms = each = _side_by_side(norms_of(values)) if touched else like.new_zeros(0)
    if len(touched) < len(parameters):
        places = [place for place, p in enumerate(parameters) if p.grad is not None]
        index = torch.tensor(places, dtype=torch.long, device=norms.device)
        each = norms.new_zeros(len(parameters)).index_copy_(0, index, norms)
    return GradientNorms(touched, values, norms, each)


def device_row(losses: torch.Tensor, gradients: GradientNorms) -> torch.Tensor:
    """One row from the losses (m,) of the micro-batches and the norms."""
    return torch.cat([losses.to(gradients.each.device), gradients.each])


def _side_by_side(scalars: list[torch.Tensor]) -> torch.Tensor:
    """One vector, on the first one's device."""
    device = scalars[0].device
    if any(one.device != device for one in scalars):
        scalars = [one.to(device) for one in scalars]
    return torch.stack(scalars)


def _dense(parameter: torch.nn.Parameter) -> torch.Tensor:
    """The gradient's values; a sparse gradient is coalesced first, so that its values stand for the whole of it."""
    grad = parameter.grad
    assert grad is not None
    if not grad.is_sparse:
        return local(grad)
    parameter.grad = grad.coalesce()
    return parameter.grad.values()
