"""How fast a run still gains by going on: the fall of its loss per e-fold of steps, from its own curve.

A loss that falls by s for every e-fold of steps would, at its end, be s / T lower for one step more; so s turns losses
into shares of a run's length, which is the unit of work ratios.
"""

import math
from collections.abc import Sequence

import numpy as np

from hpt.history import StepStats
from hpt.numerics.stateful import Stateful

FIT_FRAC = 0.5  # of the run so far, its end, over which the fall is fitted
MIN_POINTS = 4


class LossCurve(Stateful):
    """Mean loss of every block of steps of a run, and the slope over the last of them."""

    _state = ("_steps", "_losses")

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._losses: list[float] = []

    def observe(self, steps: StepStats) -> None:
        """Take in a block of full steps, about a cycle of them."""
        if len(steps):
            self._steps.append(float(steps.step.mean()))
            self._losses.append(float(steps.loss.mean()))

    def fall(self) -> float | None:
        """Loss gained per e-fold of steps; None before there are four blocks."""
        return fall_of(self._steps, self._losses)


def fall_of(steps: Sequence[float], losses: Sequence[float]) -> float | None:
    """Least squares of losses on log steps over the last FIT_FRAC of a run; None for fewer than four blocks of it."""
    if len(steps) < MIN_POINTS:
        return None
    since = FIT_FRAC * steps[-1]
    first = min(len(steps) - MIN_POINTS, next(i for i, step in enumerate(steps) if step >= since))
    logs, values = np.log(steps[first:]), np.array(losses[first:])
    logs -= logs.mean()
    slope = float(logs @ (values - values.mean())) / float(logs @ logs)
    return -slope if math.isfinite(slope) else None
