"""Does a jump outlive the next update? An optimizer with weights of its own overwrites it.

Optimizers for half-precision weights may keep a master copy in single precision, update that, and write it over the
weights: what a jump did to them is gone, although it was probed and kept. A few numbers of each parameter tell.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from hpt.numerics.shards import NO_SHARDS, Shards, local
from hpt.numerics.tensors import compute_dtype, real_view

NUM_SAMPLES = 256
"""Numbers looked at in each parameter, the first ones."""


class Survival:
    """Follows one jump; made before it.

    Args:
        parameters: those that it moves.
        shards: the processes that hold pieces of them.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], shards: Shards = NO_SHARDS) -> None:
        self._parameters, self._shards = list(parameters), shards
        self._before = self._after = self._samples()

    def _samples(self) -> list[torch.Tensor]:
        views = (real_view(local(one)).reshape(-1)[:NUM_SAMPLES] for one in self._parameters)
        return [one.to(compute_dtype(one.dtype), copy=True) for one in views]

    def jumped(self) -> None:
        """The jump has been made."""
        self._after = self._samples()

    @torch.no_grad()
    def look(self) -> tuple[float, float]:
        """After the next update: the share of the jump that is in the weights, and their distance from before it.

        Both over the jump's length, (1, 1) if an update is nothing beside it and leaves it alone, (0, 0) if it is gone.
        """
        products: list[torch.Tensor] = []
        for before, after, now in zip(self._before, self._after, self._samples(), strict=True):
            jump, moved = (after - before).double(), (now - before).double()
            products.append(torch.stack((torch.dot(moved, jump), torch.dot(moved, moved), torch.dot(jump, jump))))
        sums = torch.stack([one.to(products[0].device) for one in products]).sum(dim=0)
        along, moved_2, jump_2 = self._shards.sum(np.array(sums.tolist())).tolist()
        return (along / jump_2, math.sqrt(moved_2 / jump_2)) if jump_2 > 0.0 else (1.0, 1.0)
