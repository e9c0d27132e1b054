"""Every storage from its birth to its death, by what it is for, and the most there was of all of them together.

A mode sees the operators that autograd, the model and the optimizer call, with what goes in and comes out; a storage
that is seen for the first time is counted until it dies. What an operator needs inside, while it runs, comes out of
none: see `allocators`.
"""

import weakref
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from hpt.memory.allocators import Allocator
from hpt.memory.fakes import Dispatched, address_of, storages_of

WEIGHTS, GRADIENTS, OPTIMIZER = "weights", "gradients", "optimizer_state"
ACTIVATIONS, WORKSPACE = "activations", "workspace"
TRAJECTORY, SNAPSHOT, ROUNDING = "trajectory", "snapshot", "allocator_rounding"
CATEGORIES = (WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS, WORKSPACE, TRAJECTORY, SNAPSHOT, ROUNDING)


@dataclass(frozen=True, slots=True)
class PhasePeak:
    """Peak of one phase: all bytes, and the bytes of each category at that moment."""

    peak_bytes: int
    categories: dict[str, int]

    def plus(self, further: Mapping[str, int]) -> "PhasePeak":
        """The same with more of some categories."""
        categories = {name: count + further.get(name, 0) for name, count in self.categories.items()}
        return PhasePeak(sum(categories.values()), categories)


@dataclass(slots=True)
class _Block:
    """A storage that lives."""

    ref: Any
    num_bytes: int
    category: str


class Tracker(Dispatched):
    """Counts storages; entered as a context.

    Args:
        allocator: rounds their sizes.
    """

    def __init__(self, allocator: Allocator) -> None:
        super().__init__()
        self._allocator = allocator
        self._blocks: dict[int, _Block] = {}
        self._counts: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
        self._total = 0
        self._category = WORKSPACE
        self._peak, self._at_peak = 0, dict(self._counts)

    def held(self, category: str) -> dict[str, int]:
        """Bytes of a category now, and what the allocator adds to it."""
        blocks = [block for block in self._blocks.values() if block.category == category]
        count = sum(block.num_bytes for block in blocks)
        return {category: count, ROUNDING: sum(self._allocator.rounded(block.num_bytes) for block in blocks) - count}

    def take_peak(self) -> PhasePeak:
        """The peak since the last time."""
        self._look(0)
        found = PhasePeak(self._peak, self._at_peak)
        self._peak, self._at_peak = self._total, dict(self._counts)
        return found

    @contextmanager
    def making(self, category: str) -> Generator[None]:
        """What is born inside is of this category."""
        before, self._category = self._category, category
        try:
            yield
        finally:
            self._category = before

    def count_as(self, category: str, tensors: Iterable[torch.Tensor]) -> None:
        """From now on these are of that category, whether they were known or not."""
        for tensor in tensors:
            for storage in storages_of(tensor):
                block = self._blocks.get(address_of(storage))
                if block is None:
                    self._add(storage, category)
                elif block.category != category:
                    self._counts[block.category] -= block.num_bytes
                    self._counts[category] += block.num_bytes
                    block.category = category

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.prim.device.default:  # most calls are this question
            return result
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:  # one that is stands for memory elsewhere
                self._see(tensor)
        for tensor, num_bytes in self._allocator.hidden(func, args, result):
            self._resize(self._blocks[address_of(tensor.untyped_storage())], num_bytes)
        self._look(self._allocator.inside(func, args))
        return result

    def _look(self, inside: int) -> None:
        if self._total + inside > self._peak:
            self._peak, self._at_peak = self._total + inside, dict(self._counts)
            self._at_peak[WORKSPACE] += inside

    def _see(self, tensor: torch.Tensor) -> None:
        for storage in storages_of(tensor):
            block = self._blocks.get(address_of(storage))
            if block is None:
                self._add(storage, self._category)
            elif block.num_bytes < storage.nbytes():
                self._resize(block, storage.nbytes())

    def _add(self, storage: torch.UntypedStorage, category: str) -> None:
        key = address_of(storage)
        block = _Block(weakref.ref(storage, partial(self._died, key)), storage.nbytes(), category)
        self._blocks[key] = block
        self._count(block, 1)

    def _resize(self, block: _Block, num_bytes: int) -> None:
        self._count(block, -1)
        block.num_bytes = num_bytes
        self._count(block, 1)

    def _died(self, key: int, ref: Any) -> None:
        block = self._blocks.get(key)
        if block is not None and block.ref is ref:
            del self._blocks[key]
            self._count(block, -1)

    def _count(self, block: _Block, sign: int) -> None:
        taken = self._allocator.rounded(block.num_bytes)
        self._counts[block.category] += sign * block.num_bytes
        self._counts[ROUNDING] += sign * (taken - block.num_bytes)
        self._total += sign * taken
