"""Correct a forecast by what earlier forecasts got wrong, and undo what a jump turned out to overdo.

Expected residual = (mean residual of similar states, shrunk towards 0) + (linear model of what that leaves). The
shrinkage is the posterior mean under unit noise and a prior variance of 1 / `_PRIOR_WEIGHT`, in squared scales of the
forecast. The linear model is trained by normalised LMS (Nagumo & Noda 1967; Haykin, Adaptive Filter Theory): the update
w <- w + mu e x / (eps + |x|^2) is stable for 0 < mu < 2 whatever the size of x.

The sum is clipped to the range of residuals seen. It is scored out of sample on every residual, and acts only while
its rolling squared error is below that of no correction.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpt.config import CorrectConfig
from hpt.trainer.residuals import Residual, ResidualStore

_PRIOR_WEIGHT = 3.0
_LMS_RATE = 0.2  # mu; its excess error under noise is mu / (2 - mu), a ninth
_LMS_FLOOR = 1e-6  # eps
_SCORE_MEMORY = 0.95  # of the rolling squared errors, per residual
_MIN_SCORED = 8
_LARGEST_FEATURE = 1e6
_LARGEST = 10.0  # scales; beyond this a forecast is not biased but broken, and teaches no more


class Corrector:
    """Expected residual of a forecast, in units of the forecast's scale."""

    def __init__(self, config: CorrectConfig) -> None:
        self._config = config
        self._store = ResidualStore(config.residual_capacity)
        self._weights: NDArray[np.float64] | None = None
        self._error_with = 0.0
        self._error_without = 0.0
        self._num_scored = 0

    @property
    def is_earned(self) -> bool:
        """Its rolling out-of-sample squared error is lower than that of no correction."""
        return self._num_scored >= _MIN_SCORED and self._error_with < self._error_without

    @property
    def errors(self) -> tuple[float, float]:
        """Rolling mean squared residual with and without correction, in squared scales; 0 before any."""
        norm = 1.0 - _SCORE_MEMORY**self._num_scored
        return (self._error_with / norm, self._error_without / norm) if norm else (0.0, 0.0)

    @property
    def store(self) -> ResidualStore:
        """The residuals it learned from."""
        return self._store

    def correct(self, features: ArrayLike) -> float:
        """What to add to the forecast's mean, in its scales, in the state `features` (num_features,).

        0 while switched off, while not earned, and where a feature is NaN.
        """
        x = _bounded(features)
        if not (self._config.use_residuals and self.is_earned and np.isfinite(x).all()):
            return 0.0
        return self._expected(x)

    def observe(self, features: ArrayLike, residual: float, step: int, horizon: int, *, was_jump: bool) -> None:
        """Learn how a forecast turned out.

        Args:
            features: (num_features,) the state the forecast was made in, not the one it was about.
            residual: (observed - predicted) / scale of the forecast as it was before correction.
            step: net updates when it was made.
            horizon: full steps it looked ahead.
            was_jump: it was made for a jump.
        """
        x = _bounded(features)
        if not (math.isfinite(residual) and np.isfinite(x).all()):
            return
        clipped = max(-_LARGEST, min(_LARGEST, residual))
        self._score(self._expected(x), clipped)
        self._learn(x, clipped)
        self._store.add(Residual(step, x.astype(np.float32), horizon, clipped, was_jump))

    def state_dict(self) -> dict[str, Any]:
        """Residuals, linear model and scores."""
        return {
            "store": self._store.state_dict(),
            "weights": None if self._weights is None else self._weights.copy(),
            "error_with": self._error_with,
            "error_without": self._error_without,
            "num_scored": self._num_scored,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._store.load_state_dict(state["store"])
        weights = state["weights"]
        self._weights = None if weights is None else np.array(weights, dtype=np.float64)
        self._error_with = float(state["error_with"])
        self._error_without = float(state["error_without"])
        self._num_scored = int(state["num_scored"])

    def _expected(self, x: NDArray[np.float64]) -> float:
        low, high = self._store.bounds
        linear = 0.0 if self._weights is None else float(self._weights @ x)
        return max(low, min(high, self._company(x) + linear))

    def _company(self, x: NDArray[np.float64]) -> float:
        """Mean residual of similar states, shrunk by the weight behind it."""
        similar = self._store.similar(x)
        return similar.mean * similar.weight / (similar.weight + _PRIOR_WEIGHT)

    def _score(self, expected: float, residual: float) -> None:
        share = 1.0 - _SCORE_MEMORY
        self._error_with += share * ((residual - expected) ** 2 - self._error_with)
        self._error_without += share * (residual**2 - self._error_without)
        self._num_scored += 1

    def _learn(self, x: NDArray[np.float64], residual: float) -> None:
        """One step of normalised LMS on what the similar states leave unexplained."""
        if self._weights is None:
            self._weights = np.zeros(len(x))
        error = residual - self._company(x) - float(self._weights @ x)
        self._weights += _LMS_RATE * error * x / (_LMS_FLOOR + float(x @ x))


def _bounded(features: ArrayLike) -> NDArray[np.float64]:
    return np.clip(np.asarray(features, dtype=np.float64), -_LARGEST_FEATURE, _LARGEST_FEATURE)


def undo_factor(displacement_dot_jump: float, jump_sq_norm: float) -> float:
    """Part of a jump that the steps after it took back, in [0, 1]: -<d, j> / |j|^2, clipped.

    Args:
        displacement_dot_jump: inner product of the weights' displacement since the jump with the jump.
        jump_sq_norm: squared norm of the jump; 0 or not finite gives 0.
    """
    if not (math.isfinite(displacement_dot_jump) and math.isfinite(jump_sq_norm)) or jump_sq_norm <= 0.0:
        return 0.0
    return max(0.0, min(1.0, -displacement_dot_jump / jump_sq_norm))
