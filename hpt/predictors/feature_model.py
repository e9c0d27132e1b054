"""Base of the models that forecast from one moment's features, without a state of their own.

The input of a forecast is the 64 features at that moment and what is done until the horizon (how many jumps, their size
and gain, where the last one stands). While forecasting those actions are the planned ones; when the outcome comes in,
the model learns with the actions that really were.

The learned correction belongs to the horizon whose outcomes are seen. For a shorter one it is scaled down in
proportion: next to nothing is known to be wrong about the very next step.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.learned.facts import FloatArray
from hpt.learned.features import NUM_FEATURES
from hpt.learned.forecast import ACTION_SIZE, Correction, LossTrend, Moment, Vector
from hpt.predictors.verdicts import ShrunkLogistic, ShrunkMeans

NUM_INPUTS = NUM_FEATURES + 1 + ACTION_SIZE
ERROR_CLIP = 5.0  # scales: one spike may not bend the model
LOG_SCALE_CLIP = 2.0  # the constant forecaster's scale is never wrong by more than a factor e^2
SHIFT_CLIP = 3.0


class FeatureModel(ABC):
    """Everything but the regression itself; a `ForecastModel`.

    Args:
        num_arms: arms whose values are learned.
        max_horizon: longest horizon of a forecast, in full steps.

    Attributes:
        num_ticks: full steps taken in.
    """

    def __init__(self, num_arms: int, max_horizon: int) -> None:
        self.num_ticks = 0
        self._max_horizon = max_horizon
        self._features = np.zeros(NUM_FEATURES, dtype=np.float32)
        self._actions = np.zeros((max_horizon, ACTION_SIZE), dtype=np.float32)  # tick n at row n modulo its length
        self._learned_horizon = max_horizon
        self._values = ShrunkMeans(num_arms)
        self._verdicts = ShrunkLogistic(NUM_FEATURES)

    @abstractmethod
    def _predict(self, inputs: FloatArray) -> Correction:
        """Correction for inputs (68,) at the learned horizon; exactly zero before anything was learned."""

    @abstractmethod
    def _fit(self, inputs: FloatArray, error: float) -> None:
        """Take in the outcome of one forecast, in units of the constant forecaster's scale."""

    def tick(self, features: Vector, action: Vector, loss: float, level: float) -> None:
        """Take in one full step; loss and level are already in the features."""
        del loss, level
        self._features = features
        self.num_ticks += 1
        self._actions[self.num_ticks % self._max_horizon] = action

    def forecast(self, actions: Vector) -> Correction:
        """Forecast the loss H steps from now under the planned actions (H, 3)."""
        full = self._predict(_inputs(self._features, actions))
        share = min(1.0, len(actions) / self._learned_horizon)
        shift = share * min(SHIFT_CLIP, max(-SHIFT_CLIP, full.shift))
        log_scale = share * min(LOG_SCALE_CLIP, max(-LOG_SCALE_CLIP, full.log_scale))
        return Correction(shift, log_scale, share * full.epistemic)

    def resolve(self, moment: Moment, horizon: int, error: float) -> None:
        """Learn what came of a forecast made `horizon` ticks ago."""
        since = np.arange(moment.tick + 1, moment.tick + horizon + 1) % self._max_horizon
        self._learned_horizon = horizon
        clipped = min(ERROR_CLIP, max(-ERROR_CLIP, error))
        self._fit(_inputs(moment.features, self._actions[since]), clipped)

    def values(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (A,) of each arm's next value, in units of the trend's noise."""
        return self._values.predict()

    def resolve_value(self, moment: Moment, arm: int, value: float) -> None:
        """Learn an arm's measured value; a handful in a run, so the features are left out."""
        del moment
        self._values.add(arm, value)

    def success(self) -> float:
        """Raw probability in (0, 1) that a jump made now turns out good."""
        return self._verdicts.probability(self._features)

    def resolve_verdict(self, moment: Moment, good: bool) -> None:  # noqa: FBT001 (the label itself)
        """Learn whether a jump turned out good."""
        self._verdicts.add(moment.features, good)

    def learn(self, trend: LossTrend) -> None:
        """Nothing to replay."""
        del trend

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "num_ticks": self.num_ticks,
            "features": self._features.copy(),
            "actions": self._actions.copy(),
            "learned_horizon": self._learned_horizon,
            "values": self._values.state_dict(),
            "verdicts": self._verdicts.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.num_ticks = int(state["num_ticks"])
        self._features = np.array(state["features"], dtype=np.float32)
        self._actions = np.array(state["actions"], dtype=np.float32)
        self._learned_horizon = int(state["learned_horizon"])
        self._values.load_state_dict(state["values"])
        self._verdicts.load_state_dict(state["verdicts"])


def _inputs(features: Vector, actions: Vector) -> FloatArray:
    """(68,): 1, the features, and the sums of size and gain of the jumps and the last position after them."""
    inputs = np.empty(NUM_INPUTS)
    inputs[0] = 1.0
    inputs[1 : 1 + NUM_FEATURES] = features
    inputs[1 + NUM_FEATURES : -1] = actions[:, :-1].sum(axis=0)
    inputs[-1] = actions[-1, -1]
    return inputs


class ErrorScale:
    """Variance of standardised errors, starting at 1 with a weight, so that nothing is claimed before it is seen.

    Args:
        prior_count: errors that the start weighs as much as.
        memory: decay of the evidence per error.
    """

    def __init__(self, prior_count: float, memory: float) -> None:
        self._prior_count = prior_count
        self._memory = memory
        self._weight = 0.0
        self._squares = 0.0

    @property
    def variance(self) -> float:
        """Shrunk estimate."""
        return (self._prior_count + self._squares) / (self._prior_count + self._weight)

    @property
    def log_scale(self) -> float:
        """Logarithm of the standard deviation."""
        return 0.5 * math.log(self.variance)

    def add(self, error: float) -> None:
        """Take in one error made before its outcome was learned."""
        self._weight = self._memory * self._weight + 1.0
        self._squares = self._memory * self._squares + error * error

    def state_dict(self) -> dict[str, Any]:
        """Weight and decayed sum of squares."""
        return {"weight": self._weight, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._weight = float(state["weight"])
        self._squares = float(state["squares"])
