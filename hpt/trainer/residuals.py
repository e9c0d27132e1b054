"""What forecasts got wrong, with the state in which they were made: a bounded store, oldest out first.

`similar` asks what was wrong in states like this one: the mean residual, weighted by a Gaussian kernel
in feature space and by recency. The kernel's width is the usual distance from a new state to its
`_NEIGHBOURS`-th nearest predecessor, measured as states arrive, so that it fits the features' own
scale, and a state unlike all before it finds no company and no correction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_NEIGHBOURS = 8
_RECENCY = 0.98  # weight of a residual relative to the next newer one: half after 34


@dataclass(frozen=True, slots=True)
class Residual:
    """One forecast held against what came.

    Attributes:
        step: net updates when the forecast was made.
        features: (num_features,) float32, the state it was made in.
        horizon: full steps it looked ahead.
        residual: (observed - predicted) / scale of the forecast.
        was_jump: the forecast was made for a jump.
    """

    step: int
    features: NDArray[np.float32]
    horizon: int
    residual: float
    was_jump: bool


@dataclass(frozen=True, slots=True)
class Similar:
    """Weighted mean residual and the weight behind it: how many fully alike, fresh residuals it is worth."""

    mean: float
    weight: float


class ResidualStore:
    """Ring of the last `capacity` residuals."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0  # ever added; the next one goes to slot count mod capacity
        self._residuals = np.zeros(capacity)
        self._steps = np.zeros(capacity, dtype=np.int64)
        self._horizons = np.zeros(capacity, dtype=np.int64)
        self._was_jump = np.zeros(capacity, dtype=np.bool_)
        self._spacings = np.zeros(capacity)
        self._features: NDArray[np.float32] | None = None  # its width is known with the first residual

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest stored residual, 0 included; (0, 0) when empty."""
        stored = self._residuals[: len(self)]
        return float(stored.min(initial=0.0)), float(stored.max(initial=0.0))

    def add(self, residual: Residual) -> None:
        """Store one residual in place of the oldest when full."""
        if self._features is None:
            self._features = np.zeros((self._capacity, len(residual.features)), dtype=np.float32)
        slot = self._count % self._capacity
        self._spacings[slot] = self._spacing(residual.features)
        self._features[slot] = residual.features
        self._residuals[slot] = residual.residual
        self._steps[slot], self._horizons[slot] = residual.step, residual.horizon
        self._was_jump[slot] = residual.was_jump
        self._count += 1

    def similar(self, features: ArrayLike) -> Similar:
        """Mean residual in states like `features` (num_features,); mean and weight 0 from an empty store."""
        if not self._count:
            return Similar(0.0, 0.0)
        weights = self._kernel(features) * _RECENCY ** self._ranks()
        total = float(weights.sum())
        if total == 0.0:
            return Similar(0.0, 0.0)
        return Similar(float(weights @ self._residuals[: len(self)]) / total, total)

    def items(self) -> list[Residual]:
        """The stored residuals, oldest first."""
        assert self._features is not None or not self._count
        return [
            Residual(
                int(self._steps[slot]),
                self._features[slot].copy(),
                int(self._horizons[slot]),
                float(self._residuals[slot]),
                bool(self._was_jump[slot]),
            )
            for slot in self._order()
            if self._features is not None
        ]

    def state_dict(self) -> dict[str, Any]:
        """Arrays, oldest first; only what is filled."""
        order = self._order()
        return {
            "count": self._count,
            "residuals": self._residuals[order],
            "steps": self._steps[order],
            "horizons": self._horizons[order],
            "was_jump": self._was_jump[order],
            "spacings": self._spacings[order],
            "features": None if self._features is None else self._features[order],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`, for a store of the same capacity."""
        self._count = int(state["count"])
        order = self._order()
        self._residuals[order] = state["residuals"]
        self._steps[order] = state["steps"]
        self._horizons[order] = state["horizons"]
        self._was_jump[order] = state["was_jump"]
        self._spacings[order] = state["spacings"]
        self._features = None
        if state["features"] is not None:
            features = np.asarray(state["features"], dtype=np.float32)
            self._features = np.zeros((self._capacity, features.shape[1]), dtype=np.float32)
            self._features[order] = features

    def _order(self) -> NDArray[np.int64]:
        """Slots, oldest first."""
        return np.arange(self._count - len(self), self._count) % self._capacity

    def _ranks(self) -> NDArray[np.int64]:
        """How many residuals are newer than the one in each filled slot."""
        return (self._count - 1 - np.arange(len(self))) % self._capacity

    def _distances(self, features: ArrayLike) -> FloatArray:
        """Mean squared difference of the features to each filled slot."""
        assert self._features is not None, "an empty store has no distances"
        differences = self._features[: len(self)].astype(np.float64) - np.asarray(features, dtype=np.float64)
        return np.square(differences).mean(axis=1)

    def _spacing(self, features: NDArray[np.float32]) -> float:
        """Squared distance to the `_NEIGHBOURS`-th nearest stored state, or the farthest of fewer; 0 if none."""
        if not self._count:
            return 0.0
        distances = self._distances(features)
        rank = min(_NEIGHBOURS, len(distances)) - 1
        return float(np.partition(distances, rank)[rank])

    def _kernel(self, features: ArrayLike) -> FloatArray:
        distances = self._distances(features)
        width = float(np.median(self._spacings[: len(self)]))
        if width == 0.0:  # one residual, or states that do not differ: only the same state is alike
            return (distances == 0.0).astype(np.float64)
        return np.exp(-distances / (2.0 * width))
