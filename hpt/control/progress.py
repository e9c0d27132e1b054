"""Has the training loss fallen by more than its own noise?

The losses of the first cycle against those of the cycle that just ended, by Welch's statistic

    z = (m1 - m2) / sqrt(s1^2 / n1 + s2^2 / n2)

Losses of neighbouring steps are correlated and the test is made once a cycle, so the limit is well above the usual 2.
A run that passed has passed: after that its own evidence speaks (confidence, forks, rollbacks).
"""

import math
import sys
from collections.abc import Mapping
from typing import Any

from hpt.history import FloatArray
from hpt.numerics.running import Welford

NOISE_SIGMAS = 4.0
"""Standard errors by which the loss must have fallen."""
MIN_LOSSES = 2


class ProgressTest:
    """Whether a run makes progress.

    Attributes:
        passed: it does.
        fall_sigmas: z at the end of the last cycle tested; None before the second.
    """

    def __init__(self) -> None:
        self._first: Welford | None = None
        self._now = Welford()
        self.passed = False
        self.fall_sigmas: float | None = None

    def observe(self, losses: FloatArray) -> None:
        """Take in the losses (n,) of full steps; one that is not finite says nothing."""
        if self.passed:
            return
        for loss in losses.tolist():
            if math.isfinite(loss):
                self._now.push(loss)

    def end_cycle(self) -> None:
        """Test the cycle that ended against the first."""
        if self.passed or self._now.count < MIN_LOSSES:
            return
        now, self._now = self._now, Welford()
        if self._first is None:
            self._first = now
            return
        self.fall_sigmas = _welch(self._first, now)
        self.passed = self.fall_sigmas > NOISE_SIGMAS

    def state_dict(self) -> dict[str, Any]:
        """Both cycles and the verdict."""
        return {
            "first": None if self._first is None else self._first.state_dict(),
            "now": self._now.state_dict(),
            "passed": self.passed,
            "fall_sigmas": self.fall_sigmas,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._first = None
        if state["first"] is not None:
            self._first = Welford()
            self._first.load_state_dict(state["first"])
        self._now.load_state_dict(state["now"])
        self.passed = bool(state["passed"])
        self.fall_sigmas = None if state["fall_sigmas"] is None else float(state["fall_sigmas"])


def _welch(first: Welford, now: Welford) -> float:
    error = math.sqrt(first.variance / first.count + now.variance / now.count)
    floor = sys.float_info.epsilon * max(abs(first.mean), abs(now.mean))  # two constant losses have no error
    return (first.mean - now.mean) / max(error, floor, sys.float_info.min)
