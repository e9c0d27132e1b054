"""Predictors that misbehave on purpose."""

import numpy as np
from numpy.typing import NDArray

from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath
from hpt.predictors.protocol import BasePredictor, Proposal


def along_displacement(factor: float) -> WeightDelta:
    """`factor` times the last displacement."""
    return WeightDelta(pull_back=-factor, gain=0.0, scale=0.8)


class Overshoot(BasePredictor):
    """Proposes `factor` times the last displacement: far too much when the factor is large."""

    name = "overshoot"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal:
        """Always a jump."""
        return Proposal(self.name, along_displacement(self.factor), min(10, max_horizon), "overshoot")


class Pessimist(BasePredictor):
    """Proposes harmless jumps, expects a loss far below what can be, and notes how it was judged."""

    name = "pessimist"

    def __init__(self) -> None:
        self.judged_good: list[bool] = []

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal:
        """A small step along the last displacement."""
        return Proposal(self.name, along_displacement(0.1), 1, "pessimist")

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast:
        """Always the same, always too low."""
        return LossForecast(0.0, 0.01)

    def features(self) -> NDArray[np.float32]:
        """All states look alike."""
        return np.ones(64, dtype=np.float32)

    def judge(self, outcome: JumpOutcome) -> None:
        """Note the verdict."""
        self.judged_good.append(outcome.good)


class Raising(BasePredictor):
    """Raises in the method named."""

    name = "raising"

    def __init__(self, method: str) -> None:
        self.method = method

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """Raise if this is the method."""
        if self.method == "observe" and steps.step[-1] > 15:
            raise ValueError("no more steps, please")

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """Raise if this is the method, else propose a short jump."""
        if self.method == "propose":
            raise ZeroDivisionError("nothing to propose")
        return Proposal(self.name, along_displacement(0.1), 1, "raising")

    def judge(self, outcome: JumpOutcome) -> None:
        """Raise if this is the method."""
        if self.method == "judge":
            raise RuntimeError("I object")
