"""Which arm to play, from the values that forks measured in this run.

Every forecaster states the value of the arm before a fork measures it and is scored by the negative log density of
what came out (prequential, like the loss forecasts). The acting default is the base arm. A model takes over once three
values are in and its rolling score beats that of the running mean over all values by the margin; it then plays the arm
of the largest lower bound mean - kappa sd, where "none" is worth 0 for certain. Without such a model the running mean
itself may still say that jumps lose: "none" when even its upper bound is below 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt.learned.facts import FloatArray
from hpt.learned.forecast import Scoreboard, gaussian_nll
from hpt.predictors.verdicts import VALUE_CLIP, ShrunkMeans

RUNNING_MEAN = "mean"
MIN_VALUES = 3
LEAST_SD = 1e-3  # units of noise; nobody knows a value better than that
KAPPA = 1.0  # standard deviations in the lower bound

Values = Mapping[str, tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, slots=True)
class Choice:
    """The arm to play (None for "none"); its value and lower bound in units of the trend's noise, if measured."""

    arm: int | None
    mean: float | None
    lower: float | None


class Worth:
    """Scores value forecasts and chooses the arm.

    Args:
        base_arm: played until something better has been shown.
        memory: decay of the rolling score per value.
        margin: lead over the running mean needed to choose, nats.
    """

    def __init__(self, base_arm: int, memory: float, margin: float) -> None:
        self._base_arm = base_arm
        self._margin = margin
        self.scores = Scoreboard(memory)
        self._mean = ShrunkMeans(1)

    @property
    def count(self) -> int:
        """Values measured in this run."""
        return self._mean.count

    @property
    def mean(self) -> tuple[float, float]:
        """Running mean over all values and its predictive standard deviation."""
        means, sds = self._mean.predict()
        return float(means[0]), float(sds[0])

    def leader(self, names: tuple[str, ...]) -> str:
        """The forecaster that chooses."""
        if self.count < MIN_VALUES:
            return RUNNING_MEAN
        return self.scores.leader(names, RUNNING_MEAN, self._margin)

    def choose(self, values: Values) -> Choice:
        """The arm to play, given what each model says of every arm."""
        leader = self.leader(tuple(values))
        if leader == RUNNING_MEAN:
            return self._default()
        means, sds = values[leader]
        lower = means - KAPPA * sds
        best = int(np.argmax(lower))
        return Choice(best if lower[best] > 0.0 else None, float(means[best]), float(lower[best]))

    def _default(self) -> Choice:
        if self.count == 0:
            return Choice(self._base_arm, None, None)
        mean, sd = self.mean
        losing = self.count >= MIN_VALUES and mean + KAPPA * sd < 0.0
        return Choice(None if losing else self._base_arm, mean, mean - KAPPA * sd)

    def score(self, said: Mapping[str, tuple[float, float]], value: float) -> float:
        """Score what was said of a value before it was measured; returns the value as it should be learned."""
        bounded = min(VALUE_CLIP, max(-VALUE_CLIP, value))
        for name, (mean, sd) in {**said, RUNNING_MEAN: self.mean}.items():
            self.scores.add(name, gaussian_nll(bounded - mean, math.log(max(sd, LEAST_SD))))
        self._mean.add(0, bounded)
        return bounded

    def summary(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Values measured and their forecasters' scores; None where there is nothing yet."""
        mean, sd = self.mean if self.count else (None, None)
        scores = {
            name: {"nll_mean": self.scores.mean(name), "nll_rolling": self.scores.rolling(name)}
            for name in (*names, RUNNING_MEAN)
        }
        return {
            "count": self.count,
            "mean_in_noise": mean,
            "sd_in_noise": sd,
            "leader": self.leader(names),
            "scores": scores,
        }

    def state_dict(self) -> dict[str, Any]:
        """Scores and the running mean."""
        return {"scores": self.scores.state_dict(), "mean": self._mean.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.scores.load_state_dict(state["scores"])
        self._mean.load_state_dict(state["mean"])
