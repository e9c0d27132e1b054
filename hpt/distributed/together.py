"""Decisions that are the same in every process: numbers averaged, failures shared, one process's word for all.

In one process everything is as it is, and nothing is sent. Otherwise every process must call the same methods in the
same order, which they do because what they decide by comes from here.
"""

import hashlib
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from hpt.errors import HptError
from hpt.history import FloatArray

T = TypeVar("T")


class FailedElsewhere(Exception):
    """Another process raised; the message is what it said."""


class Together:
    """The processes that train one model on different data.

    Args:
        process_group: of torch.distributed; None: all processes, where there are several.

    Attributes:
        num_processes: how many.
        rank: of this one among them.
    """

    def __init__(self, process_group: "dist.ProcessGroup | None" = None) -> None:
        is_on = dist.is_available() and dist.is_initialized()
        self._group = process_group
        self.num_processes = dist.get_world_size(process_group) if is_on else 1
        self.rank = dist.get_rank(process_group) if is_on else 0

    @property
    def are_several(self) -> bool:
        """There is more than one process."""
        return self.num_processes > 1

    def add(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over processes of a tensor, the same bits in each, on the tensor's device; nothing waits for that."""
        if not self.are_several:
            return values
        total = values.to(self._device(), copy=True)
        dist.all_reduce(total, group=self._group)
        return total.to(values.device)

    def mean(self, values: FloatArray) -> FloatArray:
        """The average over processes, (n,), the same bits in each."""
        if not self.are_several:
            return values
        total = self.add(torch.tensor(values, dtype=torch.float64))
        return np.asarray(total.numpy() / self.num_processes, dtype=np.float64)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Of each flag, whether it is up in some process."""
        return (self.mean(np.array(flags, dtype=np.float64)) > 0.0).tolist()

    def agree(self, measure: Callable[[], Sequence[float]]) -> list[float]:
        """What `measure` gives; of several processes one number, the average of all that they measured.

        Raises:
            Exception: whatever it raises here.
            FailedElsewhere: it raised in another process only.
        """
        if not self.are_several:
            return list(measure())
        value, failure = 0.0, None
        try:
            value = fmean(measure())
        except Exception as error:  # noqa: BLE001 (raised below, once every process knows)
            failure = error
        failed, mean = self.mean(np.array([float(failure is not None), value])).tolist()
        if failed > 0.0:
            raise failure or FailedElsewhere("a forward pass failed in another process")
        return [mean]

    def are_alike(self, value: object) -> bool:
        """Every process has the same value, as far as its `repr` tells."""
        if not self.are_several:
            return True
        digest = int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:7])
        extremes = torch.tensor([digest, -digest], device=self._device())
        dist.all_reduce(extremes, dist.ReduceOp.MAX, group=self._group)
        largest, negated_smallest = extremes.tolist()
        return largest == -negated_smallest

    def all_of(self, value: T) -> list[T]:
        """The value of every process, by rank; it is pickled."""
        if not self.are_several:
            return [value]
        found: list[Any] = [None] * self.num_processes
        dist.all_gather_object(found, value, group=self._group)
        return found

    def to_first(self, value: T) -> list[T]:
        """In the first process the value of each, by rank, its own as it is; none in the others. It is pickled."""
        if not self.are_several:
            return [value]
        found: list[Any] | None = [None] * self.num_processes if self.rank == 0 else None
        dist.gather_object(value, found, group=self._group, group_dst=0)
        return [] if found is None else [value, *found[1:]]

    def once(self, do: Callable[[], T]) -> T:
        """Do it in the first process alone; all return what it returned, or raise what it raised.

        Raises:
            Exception: whatever it raises, in every process; of another kind than HptError with its name in the message.
        """
        if not self.are_several:
            return do()
        told: list[Any] = [None]
        failure: Exception | None = None
        if self.rank == 0:
            try:
                told = [(do(), None)]
            except Exception as error:  # noqa: BLE001 (raised below, once every process knows)
                failure, told = error, [(None, _told(error))]
        dist.broadcast_object_list(told, group=self._group, group_src=0)
        if failure is not None:
            raise failure
        result, error = told[0]
        if error is not None:
            raise error
        return cast("T", result)

    def _device(self) -> torch.device:
        """Where the group's backend sends from."""
        is_nccl = dist.get_backend(self._group) == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if is_nccl else torch.device("cpu")


def _told(error: Exception) -> Exception:
    """The error as other processes get it."""
    return error if isinstance(error, HptError) else FailedElsewhere(f"{type(error).__name__}: {error}")
