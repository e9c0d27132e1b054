"""What a learned model of the training run must offer, and the units in which it answers.

A learned forecast is a shift and a log factor on the constant forecaster's own scale (`LossTrend`), so that
predicting zeros is exactly as good as the constant, and a model that knows nothing cannot win. Outcomes
come back in the same units. Who may act is decided by scores of forecasts made before their outcomes
(`Scoreboard`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt.learned.facts import FloatArray
from hpt.learned.loss_trend import LossTrend
from hpt.learned.scoreboard import Scoreboard

__all__ = [
    "ACTION_SIZE",
    "Correction",
    "ForecastModel",
    "LossTrend",
    "Moment",
    "Scoreboard",
    "action_vector",
    "gaussian_nll",
]

Vector = NDArray[np.float32]

# Norm ratio and gain of the jump right before the step (0 without one), steps since the last jump / K in [0, 3].
ACTION_SIZE = 3
_LONGEST_SINCE = 3.0  # cycles; also what "never" looks like
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Correction:
    """A learned forecast relative to the trend's (mean_H, scale_H).

    mean = level + mean_H + shift * scale_H, scale = scale_H * exp(log_scale).

    Attributes:
        shift: in units of scale_H.
        log_scale: total uncertainty, aleatoric and epistemic.
        epistemic: standard deviation, in units of scale_H, that comes from not knowing the model.
    """

    shift: float
    log_scale: float
    epistemic: float

    def applied(self, level: float, mean_change: float, scale: float) -> tuple[float, float]:
        """Mean and standard deviation of the loss, in its own unit, given the trend's forecast."""
        return level + mean_change + self.shift * scale, scale * math.exp(self.log_scale)


@dataclass(frozen=True, slots=True)
class Moment:
    """A remembered state at which a decision or forecast was made: full steps seen so far, the 64 features."""

    tick: int
    features: Vector


class ForecastModel(Protocol):
    """A model learned online that forecasts the loss, the value of each arm and the verdict on a jump."""

    num_ticks: int

    def tick(self, features: Vector, action: Vector, loss: float, level: float) -> None:
        """Take in one full step: features (64,) after it, the action (3,) that led to it, loss and level."""
        ...

    def forecast(self, actions: Vector) -> Correction:
        """Forecast the loss H steps from now under the planned actions (H, 3)."""
        ...

    def resolve(self, moment: Moment, horizon: int, error: float) -> None:
        """Learn what came of a forecast: (loss - level - mean_H) / scale_H by the trend's forecast back then."""
        ...

    def values(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (A,) of each arm's value now, in units of the trend's noise."""
        ...

    def resolve_value(self, moment: Moment, arm: int, value: float) -> None:
        """Learn an arm's measured value, in units of the trend's noise at that moment."""
        ...

    def success(self) -> float:
        """Raw probability in (0, 1) that a jump made now turns out good."""
        ...

    def resolve_verdict(self, moment: Moment, good: bool) -> None:  # noqa: FBT001 (the label itself)
        """Learn whether a jump turned out good."""
        ...

    def learn(self, trend: LossTrend) -> None:
        """Improve on what is stored; called once a cycle."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        ...


def action_vector(norm_ratio: float, gain: float, steps_since_jump: int | None, cycle_steps: int) -> Vector:
    """Action (3,) of one step; `norm_ratio` and `gain` are 0 unless a jump came right before it."""
    since = _LONGEST_SINCE if steps_since_jump is None else min(_LONGEST_SINCE, steps_since_jump / cycle_steps)
    return np.array((norm_ratio, gain, since), dtype=np.float32)


def gaussian_nll(error: float, log_scale: float) -> float:
    """Negative log density, in nats, of a Gaussian of scale e^log_scale at distance `error` from its mean."""
    return _HALF_LOG_TWO_PI + log_scale + 0.5 * (error * math.exp(-log_scale)) ** 2
