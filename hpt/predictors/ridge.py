"""The ridge predictor: Bayesian linear regression on what the constant forecaster gets wrong.

It is the fallback beside every other model. Runs resolve 60 to 300 forecasts and there are 68 inputs, so the prior says
that all features together explain a tenth of the error's variance: with weights of variance 1 / penalty each,
64 / penalty = 0.1. The intercept is held less tightly. The scale is learned apart, from errors made before their
outcome was used, so that a model that has seen nothing is exactly the constant forecaster.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.facts import FloatArray
from hpt.learned.forecast import Correction, ForecastModel
from hpt.numerics.linear import RidgeRegressor
from hpt.predictors.chooser import FALLBACK, LearnedChooser
from hpt.predictors.feature_model import NUM_INPUTS, ErrorScale, FeatureModel

PENALTY = 640.0
INTERCEPT_SIZE = 4.0  # its prior standard deviation is four times a weight's
FORGETTING = 0.998  # the last 500 outcomes, more than most runs have
SCALE_PRIOR_COUNT = 20.0
SCALE_MEMORY = 0.98


class RidgeForecast(FeatureModel):
    """Running ridge regression on features and actions.

    Args:
        num_arms: arms whose values are learned.
        max_horizon: longest horizon of a forecast, in full steps.
    """

    def __init__(self, num_arms: int, max_horizon: int) -> None:
        super().__init__(num_arms, max_horizon)
        self._ridge = RidgeRegressor(NUM_INPUTS, PENALTY, FORGETTING)
        self._scale = ErrorScale(SCALE_PRIOR_COUNT, SCALE_MEMORY)

    def _predict(self, inputs: FloatArray) -> Correction:
        mean, variance = self._ridge.predict(_weighted(inputs))
        _, noise = self._ridge.predict(np.zeros(NUM_INPUTS))
        return Correction(mean, self._scale.log_scale, math.sqrt(max(0.0, variance - noise)))

    def _fit(self, inputs: FloatArray, error: float) -> None:
        weighted = _weighted(inputs)
        self._scale.add(error - self._ridge.predict(weighted)[0])
        self._ridge.observe(weighted, error)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "base": super().state_dict(),
            "ridge": self._ridge.state_dict(),
            "scale": self._scale.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state["base"])
        self._ridge.load_state_dict(state["ridge"])
        self._scale.load_state_dict(state["scale"])


def _weighted(inputs: FloatArray) -> FloatArray:
    """Inputs with the intercept at its size."""
    weighted = inputs.copy()
    weighted[0] = INTERCEPT_SIZE
    return weighted


def build(config: HybridConfig, num_groups: int) -> LearnedChooser:
    """The base preset watched over by this model."""

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        return {FALLBACK: RidgeForecast(num_arms, max_horizon)}

    return LearnedChooser(FALLBACK, config, num_groups, models)
