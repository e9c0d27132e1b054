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

from hpt.numerics.running import Welford

MIN_LOSSES = 2


class FallTest:
    """Whether a run makes progress.

    Args:
        noise_sigmas: standard errors by which the loss must have fallen.

    Attributes:
        passed: it has.
        fall_sigmas: z at the end of the last cycle tested; None before the second.
    """

    def __init__(self, noise_sigmas: float) -> None:
        self._noise_sigmas = noise_sigmas
        self._first: Welford | None = None
        self._now = Welford()
        self.passed = False
        self.fall_sigmas: float | None = None

    def observe(self, loss: float) -> None:
        """Take in the loss of one full step; one that is not finite says nothing."""
        if not self.passed and math.isfinite(loss):
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
        self.passed = self.fall_sigmas > self._noise_sigmas

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
