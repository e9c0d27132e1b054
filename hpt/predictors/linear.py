"""The linear predictor: a normalised-LMS model of what the constant forecaster gets wrong.

    w <- w + mu e x / (eps + |x|^2)

is stable for any input while 0 < mu < 2 (Haykin, "Adaptive Filter Theory", chapter 6). A step below that bound trades
speed for noise: on pure noise the excess error is mu / (2 - mu) of the noise variance, so mu = .05 costs 2.6 %.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.facts import FloatArray
from hpt.learned.forecast import Correction, ForecastModel
from hpt.predictors.chooser import FALLBACK, LearnedChooser
from hpt.predictors.feature_model import NUM_INPUTS, ErrorScale, FeatureModel
from hpt.predictors.ridge import RidgeForecast

STEP_SIZE = 0.05
SCALE_PRIOR_COUNT = 20.0  # errors; measured runs resolve 60 to 300
SCALE_MEMORY = 0.98


class LinearForecast(FeatureModel):
    """Normalised least mean squares on features and actions.

    Args:
        num_arms: arms whose values are learned.
        max_horizon: longest horizon of a forecast, in full steps.
    """

    def __init__(self, num_arms: int, max_horizon: int) -> None:
        super().__init__(num_arms, max_horizon)
        self._weights = np.zeros(NUM_INPUTS)
        self._scale = ErrorScale(SCALE_PRIOR_COUNT, SCALE_MEMORY)

    def _predict(self, inputs: FloatArray) -> Correction:
        return Correction(float(self._weights @ inputs), self._scale.log_scale, 0.0)

    def _fit(self, inputs: FloatArray, error: float) -> None:
        left = error - float(self._weights @ inputs)
        self._scale.add(left)
        self._weights += (STEP_SIZE * left / (1.0 + float(inputs @ inputs))) * inputs

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "base": super().state_dict(),
            "weights": self._weights.copy(),
            "scale": self._scale.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state["base"])
        self._weights = np.array(state["weights"], dtype=np.float64)
        self._scale.load_state_dict(state["scale"])


def build(config: HybridConfig, num_groups: int) -> LearnedChooser:
    """The base preset watched over by this model."""

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        return {
            "linear": LinearForecast(num_arms, max_horizon),
            FALLBACK: RidgeForecast(num_arms, max_horizon),
        }

    return LearnedChooser("linear", config, num_groups, models)
