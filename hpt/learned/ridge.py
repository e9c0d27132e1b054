"""Models that forecast from one moment's features, without a state of their own, and the first of them: ridge.

The input of a forecast is the 64 features at that moment and what is done until the horizon (how many jumps, their size
and gain, where the last one stands). While forecasting those actions are the planned ones; when the outcome comes in,
the model learns with the actions that really were.

The learned shift belongs to the horizon whose outcomes are seen. For a shorter one it is scaled down in
proportion: next to nothing is known to be wrong about the very next step.

Ridge is Bayesian linear regression on what the constant forecaster gets wrong, and the fallback beside every other
model. Runs resolve 60 to 300 forecasts and there are 68 inputs, so the prior says that all features together explain a
tenth of the error's variance: with weights of variance 1 / penalty each, 64 / penalty = 0.1. The intercept is held less
tightly. The scale is learned apart, from errors made before their outcome was used, so that a model that has seen
nothing is exactly the constant forecaster.
"""

import math
from abc import ABC, abstractmethod

import numpy as np

from hpt.history import FloatArray
from hpt.learned.actions import ACTION_SIZE
from hpt.learned.features import NUM_FEATURES
from hpt.learned.forecast_model import Moment, RelativeForecast, Vector
from hpt.numerics.linear import RidgeRegressor
from hpt.numerics.stateful import Stateful

NUM_INPUTS = NUM_FEATURES + 1 + ACTION_SIZE
ERROR_CLIP = 5.0  # scales: one spike may not bend the model
LOG_SCALE_CLIP = 2.0  # the constant forecaster's scale is never wrong by more than a factor e^2
SHIFT_CLIP = 3.0
PENALTY = 640.0
INTERCEPT_SIZE = 4.0  # its prior standard deviation is four times a weight's
FORGETTING = 0.998  # the last 500 outcomes, more than most runs have
SCALE_PRIOR_COUNT = 20.0  # errors; measured runs resolve 60 to 300
SCALE_MEMORY = 0.98


class ErrorScale(Stateful):
    """Variance of standardised errors, starting at 1 with a weight, so that nothing is claimed before it is seen."""

    _state = ("_weight", "_squares")

    def __init__(self) -> None:
        self._weight = 0.0
        self._squares = 0.0

    @property
    def variance(self) -> float:
        """Shrunk estimate."""
        return (SCALE_PRIOR_COUNT + self._squares) / (SCALE_PRIOR_COUNT + self._weight)

    @property
    def log_scale(self) -> float:
        """Logarithm of the standard deviation."""
        return 0.5 * math.log(self.variance)

    def add(self, error: float) -> None:
        """Take in one error made before its outcome was learned."""
        self._weight = SCALE_MEMORY * self._weight + 1.0
        self._squares = SCALE_MEMORY * self._squares + error * error


class FeatureModel(Stateful, ABC):
    """Everything but the regression itself; a `ForecastModel`.

    Args:
        max_horizon: longest horizon of a forecast, in ticks.

    Attributes:
        num_ticks: ticks taken in.
    """

    _state = ("num_ticks", "_features", "_actions", "_learned_horizon", "_scale")

    def __init__(self, max_horizon: int) -> None:
        self.num_ticks = 0
        self._max_horizon = max_horizon
        self._features = np.zeros(NUM_FEATURES, dtype=np.float32)
        self._actions = np.zeros((max_horizon, ACTION_SIZE), dtype=np.float32)  # tick n at row n modulo its length
        self._learned_horizon = max_horizon
        self._scale = ErrorScale()

    @abstractmethod
    def _predict(self, inputs: FloatArray) -> RelativeForecast:
        """Forecast for inputs (68,) at the learned horizon; exactly zero before anything was learned."""

    @abstractmethod
    def _fit(self, inputs: FloatArray, error: float) -> None:
        """Take in the outcome of one forecast, in units of the constant forecaster's scale."""

    def tick(self, features: Vector, actions: Vector, losses: FloatArray, levels: FloatArray) -> None:
        """Take in n ticks; losses and levels are already in the features."""
        del losses, levels
        self._features = features[-1].copy()
        newest = actions[-self._max_horizon :]
        self.num_ticks += len(actions)
        self._actions[np.arange(self.num_ticks + 1 - len(newest), self.num_ticks + 1) % self._max_horizon] = newest

    def forecast(self, actions: Vector) -> RelativeForecast:
        """Forecast the loss H ticks from now under the planned actions (H, 3)."""
        full = self._predict(_inputs(self._features, actions))
        share = min(1.0, len(actions) / self._learned_horizon)
        shift = share * min(SHIFT_CLIP, max(-SHIFT_CLIP, full.shift))
        log_scale = share * min(LOG_SCALE_CLIP, max(-LOG_SCALE_CLIP, full.log_scale))
        return RelativeForecast(shift, log_scale, share * full.epistemic)

    def resolve(self, moment: Moment, horizon: int, error: float) -> None:
        """Learn what came of a forecast made `horizon` ticks ago."""
        since = np.arange(moment.tick + 1, moment.tick + horizon + 1) % self._max_horizon
        self._learned_horizon = horizon
        clipped = min(ERROR_CLIP, max(-ERROR_CLIP, error))
        self._fit(_inputs(moment.features, self._actions[since]), clipped)

    def learn(self, means: FloatArray, scales: FloatArray) -> None:
        """Nothing to replay."""
        del means, scales


class RidgeForecast(FeatureModel):
    """Running ridge regression on features and actions."""

    _state = ("_ridge",)

    def __init__(self, max_horizon: int) -> None:
        super().__init__(max_horizon)
        self._ridge = RidgeRegressor(NUM_INPUTS, PENALTY, FORGETTING)

    def _predict(self, inputs: FloatArray) -> RelativeForecast:
        mean, variance = self._ridge.predict(_weighted(inputs))
        _, noise = self._ridge.predict(np.zeros(NUM_INPUTS))
        return RelativeForecast(mean, self._scale.log_scale, math.sqrt(max(0.0, variance - noise)))

    def _fit(self, inputs: FloatArray, error: float) -> None:
        weighted = _weighted(inputs)
        self._scale.add(error - self._ridge.predict(weighted)[0])
        self._ridge.observe(weighted, error)


def _inputs(features: Vector, actions: Vector) -> FloatArray:
    """(68,): 1, the features, and the sums of size and gain of the jumps and the last position after them."""
    inputs = np.empty(NUM_INPUTS)
    inputs[0] = 1.0
    inputs[1 : 1 + NUM_FEATURES] = features
    inputs[1 + NUM_FEATURES : -1] = actions[:, :-1].sum(axis=0)
    inputs[-1] = actions[-1, -1]
    return inputs


def _weighted(inputs: FloatArray) -> FloatArray:
    """Inputs with the intercept at its size."""
    weighted = inputs.copy()
    weighted[0] = INTERCEPT_SIZE
    return weighted
