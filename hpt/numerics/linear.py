"""Ridge regression in few dimensions, one observation at a time, with forgetting.

The running ridge keeps the information form, A = sum of f^age x x' and b = sum of f^age x y, and factorises A + penalty
when asked. The covariance form of recursive least squares would save a factor of n, but it forgets its penalty along
with the data ("wind-up", Astroem & Wittenmark, "Adaptive Control", 1995, section 11.5) and drifts out of symmetry;
here A is symmetric by construction, the penalty stays, and the predicted variance is a sum of squares.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.numerics.stateful import Stateful

FloatArray = NDArray[np.float64]


class RidgeRegressor(Stateful):
    """Bayesian linear regression with forgetting, one observation at a time.

    The model is y = w'x + noise, w ~ N(0, noise variance / penalty) for every component. The noise variance is the
    mean square of the one-step-ahead errors, each relative to the variance predicted for it, and begins at 1, counted
    as one observation.

    Args:
        num_features: length n of x; no intercept is added.
        penalty: strength of the prior in observations of unit size, above 0; never forgotten.
        forgetting: weight of an observation relative to the next one, in (0, 1].
    """

    _state = ("_information", "_moments", "_squares", "_count")

    def __init__(self, num_features: int, penalty: float, forgetting: float) -> None:
        assert penalty > 0, f"penalty is {penalty}, it must be above 0"
        assert 0 < forgetting <= 1, f"forgetting is {forgetting}, it must lie in (0, 1]"
        self._penalty = penalty
        self._forgetting = forgetting
        self._information = np.zeros((num_features, num_features))
        self._moments = np.zeros(num_features)
        self._squares = 1.0
        self._count = 1.0
        self._solution: tuple[FloatArray, FloatArray] | None = None

    def observe(self, inputs: FloatArray, target: float) -> None:
        """Take in inputs (n,) and their target."""
        mean, leverage = self._evaluate(inputs)
        self._squares = self._forgetting * self._squares + (target - mean) ** 2 / (1 + leverage)
        self._count = self._forgetting * self._count + 1
        self._information *= self._forgetting
        self._information += np.outer(inputs, inputs)
        self._moments *= self._forgetting
        self._moments += inputs * target
        self._solution = None

    def predict(self, inputs: FloatArray) -> tuple[float, float]:
        """Mean and variance of the target that goes with inputs (n,), the noise included."""
        mean, leverage = self._evaluate(inputs)
        return mean, self._squares / self._count * (1 + leverage)

    @property
    def weights(self) -> FloatArray:
        """Present weights (n,)."""
        return self._solved()[1].copy()

    def _evaluate(self, inputs: FloatArray) -> tuple[float, float]:
        """Predicted mean, and variance of w'x over that of the noise."""
        half, weights = self._solved()
        return float(weights @ inputs), float(np.square(half @ inputs).sum())

    def _solved(self) -> tuple[FloatArray, FloatArray]:
        """Inverse Cholesky factor of the penalised information, and the weights."""
        if self._solution is None:
            half = _inverse_factor(self._information, self._penalty)
            self._solution = half, half.T @ (half @ self._moments)
        return self._solution

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`.

        Raises:
            CheckpointError: the state has another number of features.
        """
        super().load_state_dict(state)
        self._solution = None


def _inverse_factor(gram: FloatArray, penalty: float) -> FloatArray:
    """H with H'H = inverse of (gram + penalty)."""
    factor = np.linalg.cholesky(gram + penalty * np.eye(len(gram)))
    return np.linalg.inv(factor).astype(np.float64, copy=False)
