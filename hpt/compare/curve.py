"""What the baseline reaches at which length: full schedules of several lengths, not one run looked at on its way.

Between lengths the loss is linear in log(length); beyond the longest and the shortest nothing is said. Noise can make
a longer baseline the worse one; pooled neighbours (isotonic regression) make the curve fall, as it must, and the curve
says that it was pooled.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Reach:
    """The baseline length that reaches a loss.

    Attributes:
        steps: that length; the nearest one measured where the loss lies outside.
        side: "" inside, "above" where even the longest baseline does not reach the loss, so that the true length is
            more than `steps`; "below" where the shortest does better, so that it is less.
    """

    steps: float
    side: str


class BaselineCurve:
    """Mean final loss by length.

    Args:
        losses: by length in updates, one loss a seed, seeds in the same order; at least one length.

    Attributes:
        lengths: sorted.
        means: losses made to fall with length.
        is_pooled: the means as measured did not fall everywhere.
    """

    def __init__(self, losses: Mapping[int, Sequence[float]]) -> None:
        self.lengths = sorted(losses)
        raw = [float(np.mean(losses[length])) for length in self.lengths]
        self.means = falling(raw)
        self.is_pooled = self.means != raw
        self._logs = [math.log(length) for length in self.lengths]

    def reach(self, loss: float) -> Reach:
        """The length whose mean loss this is."""
        if loss < self.means[-1]:
            return Reach(float(self.lengths[-1]), "above")
        if loss > self.means[0]:
            return Reach(float(self.lengths[0]), "below")
        # losses fall with length, numpy wants them rising; of a flat stretch its middle
        first = float(np.interp(loss, _separated(self.means[::-1], -1.0), self._logs[::-1]))
        last = float(np.interp(loss, _separated(self.means[::-1], 1.0), self._logs[::-1]))
        return Reach(math.exp(0.5 * (first + last)), "")

    def loss_at(self, steps: float) -> float | None:
        """Mean loss of a baseline of that length; None outside the lengths measured."""
        if not self.lengths[0] <= steps <= self.lengths[-1]:
            return None
        return float(np.interp(math.log(steps), self._logs, self.means))


def falling(values: Sequence[float]) -> list[float]:
    """The nearest sequence that never rises, in squares (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            (second, m), (first, n) = pools.pop(), pools.pop()
            pools.append(((first * n + second * m) / (n + m), n + m))
    return [mean for mean, count in pools for _ in range(count)]


def _separated(rising: Sequence[float], direction: float) -> list[float]:
    """Equal neighbours pulled apart by the least amount, so that a flat stretch is met at one of its ends."""
    values = list(rising)
    order = range(1, len(values)) if direction > 0 else range(len(values) - 2, -1, -1)
    for i in order:
        before = values[i - 1] if direction > 0 else values[i + 1]
        if (values[i] <= before) if direction > 0 else (values[i] >= before):
            values[i] = math.nextafter(before, direction * math.inf)
    return values
