"""Reads of the device by the host: what a GPU waits for, counted on any machine.

A read is `aten::_local_scalar_dense` (`item`, `float`, a truth value), a copy from a device to the host, or a call of
`Tensor.cpu` or `Tensor.tolist`, which on a CPU are no operations that torch would dispatch.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode  # the documented way to see every operation

from hpt.profile.side_by_side import SideBySide

_ITEM = torch.ops.aten._local_scalar_dense.default  # noqa: SLF001 (the operation's name)
_COPY = torch.ops.aten._to_copy.default  # noqa: SLF001
_TO_HOST = (Tensor.cpu, Tensor.tolist)


@dataclass(frozen=True, slots=True)
class Transfers:
    """Reads in one cycle of full steps.

    Attributes:
        full_step: the most in a step that does not end the cycle.
        cycle: in all steps together.
        plain_step: in a step of the plain loop: its loss, and what the optimizer itself reads.
    """

    full_step: int
    cycle: int
    plain_step: int


class _Operations(TorchDispatchMode):
    """Counts the operations that read; a number of a tensor on the host is none where the model is on a GPU."""

    count = 0

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self._device_type = device_type

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        is_item = func is _ITEM and args[0].device.type == self._device_type
        if is_item or (func is _COPY and _leaves(args[0], named.get("device"))):
            self.count += 1
        return func(*args, **named)


class _Calls(TorchFunctionMode):
    """Counts what would be a copy to the host, of tensors that are on the host already."""

    count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += func in _TO_HOST and args[0].device.type == "cpu"
        return func(*args, **(kwargs or {}))


def _leaves(tensor: Tensor, device: torch.device | str | None) -> bool:
    return tensor.device.type != "cpu" and device is not None and torch.device(device).type == "cpu"


@contextmanager
def counted_reads(device_type: str = "cpu") -> Generator[Callable[[], int]]:
    """While entered, reads are counted; yields a function that tells how many so far.

    Args:
        device_type: where the model is.
    """
    with _Operations(device_type) as operations, _Calls() as calls:
        yield lambda: operations.count + (calls.count if device_type == "cpu" else 0)


def count_transfers(both: SideBySide) -> Transfers:
    """Reads of both arms in their next K updates, a cycle of which the last step may lie anywhere among them."""
    counts: list[int] = []
    with counted_reads(both.device_type) as so_far:
        batches = both.next_batches()[: both.cycle_steps]
        for batch in batches:
            before = so_far()
            both.trainer.step(batch)
            counts.append(so_far() - before)
        before = so_far()
        both.plain.step(batches[0])
        plain_step = so_far() - before
    ordinary = sorted(counts)[:-1] or counts
    return Transfers(full_step=ordinary[-1], cycle=sum(counts), plain_step=plain_step)
