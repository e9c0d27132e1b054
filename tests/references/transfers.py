"""Counts what would be a transfer from the device if the tensors lay on one: numbers read, copies made on the host."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Numbers(TorchDispatchMode):
    """Counts every number that leaves a tensor: item(), float(), bool(), int()."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class Transfers:
    """How many there were; `count` goes up as they happen."""

    def __init__(self) -> None:
        self.numbers = _Numbers()
        self.copies = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.numbers.count + self.copies


@contextmanager
def counted_transfers() -> Iterator[Transfers]:
    """Inside, numbers read and calls of cpu(), tolist() and numpy() on tensors of the run are counted."""
    found = Transfers()

    def counting(name: str) -> Any:
        original = getattr(torch.Tensor, name)

        def method(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            found.copies += 1
            return original(self, *args, **kwargs)

        return mock.patch.object(torch.Tensor, name, method)

    with counting("cpu"), counting("tolist"), found.numbers:
        yield found
