"""Which arm to play, from the values that forks measured in this run.

Every forecaster states the value of the arm before a fork measures it and is scored by the negative log density of
what came out (prequential, like the loss forecasts). The acting default is the base arm. A model takes over once three
values are in and its rolling score beats that of the running mean over all values by the margin; it then plays the arm
of the largest lower bound mean - kappa sd, where "none" is worth 0 for certain. Without such a model the running mean
itself may still say that jumps lose: "none" when even its upper bound is below 0.

A bandit may choose instead. It is off by default: a run has a handful of forks and a bandit needs more to beat the base
preset.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpt.control.bandit import LinUCB
from hpt.history import FloatArray
from hpt.jump.stats import CycleStats
from hpt.learned.forecast_model import Scoreboard, gaussian_nll
from hpt.learned.outcomes import VALUE_CLIP, ShrunkMeans
from hpt.numerics.stateful import Stateful

RUNNING_MEAN = "mean"
MIN_VALUES = 3
LEAST_SD = 1e-3  # units of noise; nobody knows a value better than that
KAPPA = 1.0  # standard deviations in the lower bound
_CONTEXT_SIZE = 2

Values = Mapping[str, tuple[FloatArray, FloatArray]]


@dataclass(frozen=True, slots=True)
class ArmChoice:
    """The arm to play (None for "none"); its value and lower bound in units of the trend's noise, if measured."""

    arm: int | None
    mean: float | None
    lower: float | None


class ValueScores(Stateful):
    """Scores value forecasts and chooses the arm.

    Args:
        base_arm: played until something better has been shown.
        memory: decay of the rolling score per value.
        margin: lead over the running mean needed to choose, nats.
    """

    _state = ("scores", "_mean")

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

    def choose(self, values: Values) -> ArmChoice:
        """The arm to play, given what each model says of every arm."""
        leader = self.leader(tuple(values))
        if leader == RUNNING_MEAN:
            return self._default()
        means, sds = values[leader]
        lower = means - KAPPA * sds
        best = int(np.argmax(lower))
        return ArmChoice(best if lower[best] > 0.0 else None, float(means[best]), float(lower[best]))

    def _default(self) -> ArmChoice:
        if self.count == 0:
            return ArmChoice(self._base_arm, None, None)
        mean, sd = self.mean
        losing = self.count >= MIN_VALUES and mean + KAPPA * sd < 0.0
        return ArmChoice(None if losing else self._base_arm, mean, mean - KAPPA * sd)

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


class ArmBandit(Stateful):
    """LinUCB over the arms of a selector; the context is (1, how far the run is).

    "No jump" is worth exactly nothing, so it needs no model: it wins when no arm's upper bound is above zero.

    Args:
        names: arms, without "none".
        base_arm: played until the first value was measured.
    """

    _state = ("_bandit", "_context")

    def __init__(self, names: tuple[str, ...], base_arm: int) -> None:
        self._bandit = LinUCB(names, _CONTEXT_SIZE)
        self._base_arm = base_arm
        self._context: list[float] | None = None

    def choose(self, stats: CycleStats) -> ArmChoice:
        """The arm with the highest upper bound; its mean is in units of the trend's noise."""
        self._context = [1.0, 1.0 - stats.lr_frac if stats.progress is None else stats.progress]
        if sum(self._bandit.plays) == 0:
            return ArmChoice(self._base_arm, None, None)
        choice = self._bandit.choose(self._context)
        best = choice.scores[choice.arm] > 0.0
        return ArmChoice(choice.arm if best else None, choice.means[choice.arm], choice.means[choice.arm])

    def observe(self, arm: int, value: float) -> None:
        """Reward the arm played last with its measured value, in units of the trend's noise."""
        if self._context is not None:
            self._bandit.observe(self._context, arm, value)
