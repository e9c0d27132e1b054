"""Layer 1: parameters stay where they are in memory; every one that moved is counted.

An update or a jump that builds new tensors instead of writing into the old ones shows as another address: it
costs a second copy while both exist, and breaks whatever else holds the tensor (compiled graphs, tied
weights).
"""

from collections.abc import Iterable

import torch


class CopyCounter:
    """Counts parameters whose storage is not where it was.

    Args:
        parameters: the ones to watch, by reference.
    """

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self._parameters = list(parameters)
        self._places = self._now()
        self.num_copies = 0

    def _now(self) -> list[int]:
        return [one.data_ptr() for one in self._parameters]

    def check(self) -> int:
        """Storage changes since the last check."""
        now = self._now()
        if now == self._places:
            return 0
        moved = sum(one != other for one, other in zip(now, self._places, strict=True))
        self._places = now
        self.num_copies += moved
        return moved
