"""Placing the seeds of an arm on the baseline's curve: the length of baseline that each of them stands for.

The curve is what the baseline reaches at which length: full schedules of several lengths, not one run looked at on its
way. Between lengths the loss is linear in log(length); beyond the longest and the shortest nothing is said. Noise can
make a longer baseline the worse one; pooled neighbours (isotonic regression) make the curve fall, as it must, and the
curve says that it was pooled.

Pairing: seed k of an arm is compared with seed k of the baseline at the same length T (same initial weights, same
data order). With d_k the difference of their final losses, the arm is placed on the baseline's mean curve at
L(T) + d_k, and N_k, the baseline length that has this loss, is the length it stands for.

The bootstrap draws seeds, and with them the curve; the t interval takes the curve as given.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from hpt.compare.cells import CellResult
from hpt.compare.ratios import Ratio
from hpt.statistics import Floats, estimate


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
        raw = [fmean(losses[length]) for length in self.lengths]
        self.means = falling(raw)
        self.is_pooled = self.means != raw
        self._logs = np.log(self.lengths)
        # losses fall with length, numpy wants them rising; a flat stretch is met at either of its ends
        self._ends = [np.asarray(_separated(self.means[::-1], direction)) for direction in (-1.0, 1.0)]

    def reach(self, loss: float) -> Reach:
        """The length in updates at which the baseline has this mean loss; at either end of the curve only a bound."""
        if loss < self.means[-1]:
            return Reach(float(self.lengths[-1]), "above")
        if loss > self.means[0]:
            return Reach(float(self.lengths[0]), "below")
        first, last = (float(np.interp(loss, rising, self._logs[::-1])) for rising in self._ends)
        return Reach(math.exp(0.5 * (first + last)), "")  # of a flat stretch its middle

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The baseline's cells on one workload.

    Attributes:
        steps: T.
        seeds: in the order of all lists.
        at: results by length, one a seed.
    """

    steps: int
    seeds: tuple[int, ...]
    at: Mapping[int, tuple[CellResult, ...]]

    @property
    def losses(self) -> dict[int, list[float]]:
        """Final losses by length; lengths at which a run diverged are left out."""
        every = {length: [result.loss for result in results] for length, results in self.at.items()}
        return {length: losses for length, losses in every.items() if all(map(math.isfinite, losses))}

    @property
    def work_per_update(self) -> float:
        """Full-step equivalents of one of its updates: 1, and the share of a step that its optimizer takes."""
        results = self.at[self.steps]
        return sum(result.full_step_equivalents for result in results) / (self.steps * len(results))

    @property
    def is_usable(self) -> bool:
        """No seed diverged at T itself, so that arms can be placed on the curve."""
        return self.steps in self.losses

    def curve(self) -> BaselineCurve:
        """Mean loss by length, over all seeds."""
        return BaselineCurve(self.losses)

    def seed_sd(self) -> float | None:
        """Standard deviation of the final loss at T over seeds; None below two seeds."""
        losses = self.losses[self.steps]
        return float(np.std(losses, ddof=1)) if len(losses) > 1 else None


class Placement:
    """Seeds of an arm on the baseline's curve.

    Args:
        baseline: usable, with the seeds of the arm.
        results: the arm's, by seed in the same order.
    """

    def __init__(self, baseline: Baseline, results: Sequence[CellResult]) -> None:
        self._baseline, self._known = baseline, baseline.losses
        self._drawn: dict[tuple[int, ...], dict[int, Reach]] = {}
        self.losses = [result.loss for result in results]
        self.changes = [loss - before for loss, before in zip(self.losses, self._known[baseline.steps], strict=True)]
        self.reaches = list(self._reaches(tuple(range(len(results)))).values())

    def _reaches(self, picks: tuple[int, ...]) -> dict[int, Reach]:
        """By seed drawn, on the curve of the seeds drawn; kept, since every unit draws the same ones."""
        if picks not in self._drawn:
            curve = BaselineCurve({length: [losses[i] for i in picks] for length, losses in self._known.items()})
            at_full = curve.loss_at(self._baseline.steps)
            assert at_full is not None, "T is one of the lengths"
            self._drawn[picks] = {i: curve.reach(at_full + self.changes[i]) for i in dict.fromkeys(picks)}
        return self._drawn[picks]

    def ratio(self, units: Sequence[float]) -> Ratio:
        """The baseline's length that each seed reaches, divided by its `units` (updates or full-step equivalents)."""
        logs = [self._log(reach, i, units) for i, reach in enumerate(self.reaches)]
        sides = {reach.side for reach in self.reaches} - {""}
        return Ratio(
            estimate(logs, lambda picks: self._redrawn(picks, units)),
            tuple(math.exp(log) for log in logs),
            "" if not sides or -math.inf in logs else sorted(sides)[0],
        )

    def _log(self, reach: Reach, index: int, units: Sequence[float]) -> float:
        if not math.isfinite(self.losses[index]):
            return -math.inf
        return math.log(reach.steps / units[index])

    def _redrawn(self, rows: NDArray[np.intp], units: Sequence[float]) -> Floats:
        """Mean logarithm for every row of drawn seeds, the curve made of the same seeds."""
        known: dict[tuple[int, ...], float] = {}
        means: list[float] = []
        for row in np.sort(rows, axis=1).tolist():
            picks = tuple(row)
            if picks not in known:
                logs = {i: self._log(reach, i, units) for i, reach in self._reaches(picks).items()}
                known[picks] = sum(logs[i] for i in picks) / len(picks)
            means.append(known[picks])
        return np.asarray(means)

    def change_at(self, work: Sequence[float]) -> list[float] | None:
        """Loss minus that of a baseline of length `work`, by seed; None where no baseline is that long or short."""
        curve = self._baseline.curve()
        at_full, at_work = curve.loss_at(self._baseline.steps), [curve.loss_at(one) for one in work]
        assert at_full is not None, "T is one of the lengths"
        if any(one is None for one in at_work):
            return None
        return [change - ((one or 0.0) - at_full) for change, one in zip(self.changes, at_work, strict=True)]
