"""The residual that a forecast is expected to leave, learned from earlier ones in states like the present.

Expected residual = (mean residual of similar states, shrunk towards 0) + (linear model of what that leaves). The
shrinkage is the posterior mean under unit noise and a prior variance of 1 / `_PRIOR_WEIGHT`, in squared scales of the
forecast. The linear model is trained by normalised LMS (Nagumo & Noda 1967; Haykin, Adaptive Filter Theory): the update
w <- w + mu e x / (eps + |x|^2) is stable for 0 < mu < 2 whatever the size of x.

Similar states weigh by a Gaussian kernel in feature space and by recency. The kernel's width is the usual distance from
a new state to its `_NEIGHBOURS`-th nearest predecessor, measured as states arrive, so that it fits the features' own
scale, and a state unlike all before it finds no company and gets 0.

The sum is clipped to the range of residuals seen. It is scored out of sample on every residual, and acts only while
its rolling squared error is below that of saying 0.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt.history import FloatArray
from hpt.numerics.stateful import Stateful

_CAPACITY = 512  # residuals kept, more than a run has jumps
_NEIGHBOURS = 8
_RECENCY = 0.98  # weight of a residual relative to the next newer one: half after 34
_PRIOR_WEIGHT = 3.0
_LMS_RATE = 0.2  # mu; its excess error under noise is mu / (2 - mu), a ninth
_LMS_FLOOR = 1e-6  # eps
_SCORE_MEMORY = 0.95  # of the rolling squared errors, per residual
_MIN_SCORED = 8
_LARGEST_FEATURE = 1e6
_LARGEST = 10.0  # scales; beyond this a forecast is not biased but broken, and teaches no more
_ROWS = ("_residuals", "_spacings", "_features")


class ResidualStore(Stateful):
    """Ring of the last `capacity` residuals and the states in which the forecasts were made."""

    _state = ("_count",)

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0  # ever added; the next one goes to slot count mod capacity
        self._residuals = np.zeros(capacity)
        self._spacings = np.zeros(capacity)
        self._features = np.zeros((capacity, 0), dtype=np.float32)  # its width is known with the first residual

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest stored residual, 0 included; (0, 0) when empty."""
        stored = self._residuals[: len(self)]
        return float(stored.min(initial=0.0)), float(stored.max(initial=0.0))

    def add(self, features: NDArray[np.float32], residual: float) -> None:
        """Store the state (num_features,) and the residual of one forecast in place of the oldest when full."""
        if not self._count:
            self._features = np.zeros((self._capacity, len(features)), dtype=np.float32)
        slot = self._count % self._capacity
        self._spacings[slot] = self._spacing(features)
        self._features[slot], self._residuals[slot] = features, residual
        self._count += 1

    def similar(self, features: ArrayLike) -> tuple[float, float]:
        """Weighted mean residual in states like `features` (num_features,), and the weight behind it.

        The weight is how many fully alike, fresh residuals it is worth; both are 0 from an empty store.
        """
        if not self._count:
            return 0.0, 0.0
        weights = self._kernel(features) * _RECENCY ** self._ranks()
        total = float(weights.sum())
        return (float(weights @ self._residuals[: len(self)]) / total, total) if total else (0.0, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Arrays, oldest first; only what is filled."""
        rows = {name: getattr(self, name)[self._order()] for name in _ROWS}
        return {**super().state_dict(), **{name.lstrip("_"): row for name, row in rows.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`, for a store of the same capacity."""
        super().load_state_dict(state)
        order = self._order()
        self._features = np.zeros((self._capacity, state["features"].shape[1]), dtype=np.float32)
        for name in _ROWS:
            getattr(self, name)[order] = state[name.lstrip("_")]

    def _order(self) -> NDArray[np.int64]:
        """Slots, oldest first."""
        return np.arange(self._count - len(self), self._count) % self._capacity

    def _ranks(self) -> NDArray[np.int64]:
        """How many residuals are newer than the one in each filled slot."""
        return (self._count - 1 - np.arange(len(self))) % self._capacity

    def _distances(self, features: ArrayLike) -> FloatArray:
        """Mean squared difference of the features to each filled slot."""
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


class ResidualModel(Stateful):
    """Expected residual of a forecast, in units of the forecast's scale."""

    _state = ("_store", "_weights", "_error_with", "_error_without", "_num_scored")

    def __init__(self) -> None:
        self._store = ResidualStore(_CAPACITY)
        self._weights: FloatArray | None = None
        self._error_with = 0.0
        self._error_without = 0.0
        self._num_scored = 0

    @property
    def is_earned(self) -> bool:
        """Its rolling out-of-sample squared error is lower than that of saying 0."""
        return self._num_scored >= _MIN_SCORED and self._error_with < self._error_without

    @property
    def errors(self) -> tuple[float, float]:
        """Rolling mean squared residual with and without the model, in squared scales; 0 before any."""
        norm = 1.0 - _SCORE_MEMORY**self._num_scored
        return (self._error_with / norm, self._error_without / norm) if norm else (0.0, 0.0)

    def expected(self, features: ArrayLike) -> float:
        """What to add to the forecast's mean, in its scales, in the state `features` (num_features,).

        0 while not earned, and where a feature is NaN.
        """
        x = _bounded(features)
        if not (self.is_earned and np.isfinite(x).all()):
            return 0.0
        return self._expected(x)

    def observe(self, features: ArrayLike, residual: float) -> None:
        """Learn how a forecast turned out.

        Args:
            features: (num_features,) the state the forecast was made in, not the one it was about.
            residual: (observed - predicted) / scale of the forecast as it was before the model was asked.
        """
        x = _bounded(features)
        if not (math.isfinite(residual) and np.isfinite(x).all()):
            return
        clipped = max(-_LARGEST, min(_LARGEST, residual))
        self._score(self._expected(x), clipped)
        self._learn(x, clipped)
        self._store.add(x.astype(np.float32), clipped)

    def _expected(self, x: FloatArray) -> float:
        low, high = self._store.bounds
        linear = 0.0 if self._weights is None else float(self._weights @ x)
        return max(low, min(high, self._company(x) + linear))

    def _company(self, x: FloatArray) -> float:
        """Mean residual of similar states, shrunk by the weight behind it."""
        mean, weight = self._store.similar(x)
        return mean * weight / (weight + _PRIOR_WEIGHT)

    def _score(self, expected: float, residual: float) -> None:
        share = 1.0 - _SCORE_MEMORY
        self._error_with += share * ((residual - expected) ** 2 - self._error_with)
        self._error_without += share * (residual**2 - self._error_without)
        self._num_scored += 1

    def _learn(self, x: FloatArray, residual: float) -> None:
        """One step of normalised LMS on what the similar states leave unexplained."""
        if self._weights is None:
            self._weights = np.zeros(len(x))
        error = residual - self._company(x) - float(self._weights @ x)
        self._weights += _LMS_RATE * error * x / (_LMS_FLOOR + float(x @ x))


def _bounded(features: ArrayLike) -> FloatArray:
    return np.clip(np.asarray(features, dtype=np.float64), -_LARGEST_FEATURE, _LARGEST_FEATURE)
