"""Moments whose outcome became known: what an arm was worth, whether a jump turned out good.

There are few of them, a handful of forks and one verdict a jump, so every update sees all that are kept. The latent is
kept as it was when the moment passed; the head reads today's trunk of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.learned.forecast import Vector

_CAPACITY = 128


@dataclass(frozen=True, slots=True)
class Labelled:
    """N moments: latents (N, D) and (N, S), bootstrap weights (N, E), arms (N,) and targets (N,)."""

    deter: Vector
    stoch: Vector
    masks: Vector
    arms: NDArray[np.int64]
    targets: Vector


class LabelStore:
    """The last 128 labelled moments of one kind."""

    def __init__(self, deter: int, stoch: int, num_heads: int) -> None:
        self.num_seen = 0
        self._latents = np.zeros((_CAPACITY, deter + stoch), dtype=np.float32)
        self._deter = deter
        self._masks = np.zeros((_CAPACITY, num_heads), dtype=np.float32)
        self._arms = np.zeros(_CAPACITY, dtype=np.int64)
        self._targets = np.zeros(_CAPACITY, dtype=np.float32)

    def add(self, latent: tuple[Vector, Vector], mask: Vector, arm: int, target: float) -> None:
        """Store one moment in place of the oldest."""
        at = self.num_seen % _CAPACITY
        self._latents[at] = np.concatenate(latent)
        self._masks[at], self._arms[at], self._targets[at] = mask, arm, target
        self.num_seen += 1

    def counts(self, num_arms: int) -> NDArray[np.int64]:
        """Stored moments of each arm, (A,)."""
        return np.bincount(self._arms[: self.num_seen], minlength=num_arms)

    def batch(self) -> Labelled | None:
        """Everything stored, None if nothing is."""
        if self.num_seen == 0:
            return None
        deter, stoch = np.split(self._latents[: self.num_seen], [self._deter], axis=1)
        kept = slice(0, min(self.num_seen, _CAPACITY))
        return Labelled(deter, stoch, self._masks[kept], self._arms[kept], self._targets[kept])

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in _ARRAYS}
        return {"num_seen": self.num_seen, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.num_seen = int(state["num_seen"])
        for name in _ARRAYS:
            getattr(self, f"_{name}")[:] = state[name]


_ARRAYS = ("latents", "masks", "arms", "targets")
