"""Features of whole cycles and of jumps.

Of cycles: d is the displacement over the cycle, E its average over cycles with weights w. |E|^2 is the sum of
w^2 |d|^2, all that independent displacements would leave of it, plus what their inner products add; the latter over its
largest value is the mean cosine between the displacements in E, the share of trend in the noise. Unlike the bare ratio
of |E|^2 to its noise it does not grow as E fills up. Lengths enter per unit of learning rate, or they would repeat its
schedule. The first cycle, in which E = d, has none of these features. With a single parameter group the comparison of
the first two groups gives way to the growth of d over two cycles and the turning of E.

Of jumps: before the first one the start of the cycle stands in for it, so that time and effect are never dead. Sums
over jumps decay with the steps, gains over two cycles, verdicts over eight. A plain share of good jumps would creep up
all run long if all are good, and so repeat the step; the decaying sum, signed by the verdict and weighted by size, does
not.
"""

import math

import numpy as np

from hpt.history import NEVER, FloatArray, StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.step_features import StepRows
from hpt.numerics.stateful import Stateful

CYCLE_NAMES = (
    *("trend_angle", "trend_size", "lagged_angle", "coherence"),
    *("trend_angle_slow", "trend_size_slow", "lagged_angle_slow", "coherence_slow"),
    *("trend_growth", "displacement_growth", "displacement_speed"),
    *("lagged_angle_slowest", "group_displacement", "group_trend", "cycle_loss"),
)
JUMP_NAMES = ("jump_recency", "jump_settling", "jump_size", "jump_effect", "jump_gain", "jump_verdicts")

_SLOW, _SLOWEST = 1 / 4, 1 / 10  # gains of averages over cycles
_GAIN_CYCLES, _VERDICT_CYCLES = 2, 8
_TINY = 1e-30
_LEAST_LR_FRAC = 1e-4


class CycleFeatures(Stateful):
    """The features that change once a cycle.

    Attributes:
        values: the raw features in the order of `CYCLE_NAMES`, zeros until the end of the second cycle.
    """

    _state = (
        *("values", "_square", "_length", "_speeds", "_cycle_loss", "_lagged_angle"),
        *("_loss_sum", "_lr_sum", "_num_steps"),
    )

    def __init__(self) -> None:
        self.values: tuple[float, ...] = (0.0,) * len(CYCLE_NAMES)
        self._square = 0.0  # sum of w^2 |d|^2, w the weights in E before bias correction
        self._length = 0.0  # sum of w |d|
        self._speeds = [0.0] * 3  # log |d| per learning rate of the last cycles, newest first
        self._cycle_loss = 0.0  # mean loss of the last cycle
        self._lagged_angle = 0.0
        self._loss_sum = self._lr_sum = 0.0  # of the cycle under way
        self._num_steps = 0

    def observe_steps(self, steps: StepStats) -> None:
        """Take in full steps of the cycle under way."""
        for loss, lr_frac in zip(steps.loss.tolist(), steps.lr_frac.tolist(), strict=True):
            self._loss_sum += loss
            self._lr_sum += lr_frac
        self._num_steps += len(steps)

    def observe(self, stats: CycleStats, noise: float) -> None:
        """Take in a finished cycle; `noise` is the standard deviation of the loss noise."""
        mu, total = stats.scale, stats.gram.sum(axis=0)
        squared_d = float(total[0, 0])
        self._square = mu**2 * self._square + (1 - mu) ** 2 * squared_d
        self._length = mu * self._length + (1 - mu) * math.sqrt(squared_d)
        self._update_speeds(stats, squared_d)
        loss_change = self._take_loss_change()
        if stats.cycle < 2:
            return
        trend = self._trend(stats, total)
        self.values = (
            *trend,
            *self._slowly(trend),
            0.5 * (_log(float(total[1, 1])) - _log(float(stats.lagged_norms.sum()))),
            self._speeds[0] - self._speeds[1],
            self._speeds[0] - 0.5 * _log(float(np.square(stats.weight_norms).sum())),
            self._slowest_angle(trend[2]),
            *self._groups(stats, total),
            loss_change / noise,
        )

    def _update_speeds(self, stats: CycleStats, squared_norm: float) -> None:
        lr_frac = self._lr_sum / self._num_steps if self._num_steps else stats.lr_frac
        speed = 0.5 * _log(squared_norm) - math.log(max(lr_frac, _LEAST_LR_FRAC))
        self._speeds = [speed, *self._speeds[:-1]] if stats.cycle > 1 else [speed] * len(self._speeds)

    def _take_loss_change(self) -> float:
        """Mean loss of the cycle minus that of the one before; the sums start again."""
        mean = self._loss_sum / self._num_steps if self._num_steps else self._cycle_loss
        change = mean - self._cycle_loss
        self._cycle_loss, self._loss_sum, self._lr_sum, self._num_steps = mean, 0.0, 0.0, 0
        return change

    def _trend(self, stats: CycleStats, total: FloatArray) -> tuple[float, ...]:
        """cos(d, E), log |E| / |d|, cos(d, E before this cycle), mean cosine within E."""
        squared, squared_d = float(total[1, 1]), float(total[0, 0])
        correction = 1 - stats.scale**stats.cycle
        own = self._square / correction**2
        return (
            _cosine(float(total[0, 1]), squared_d, squared),
            0.5 * (_log(squared) - _log(squared_d)),
            _cosine(float(stats.lagged.sum()), squared_d, float(stats.lagged_norms.sum())),
            (squared - own) / max((self._length / correction) ** 2 - own, _TINY),
        )

    def _slowly(self, trend: tuple[float, ...]) -> tuple[float, ...]:
        """The same averaged over about four cycles."""
        if not any(self.values):
            return trend
        before = self.values[4:8]
        return tuple(old + (new - old) * _SLOW for old, new in zip(before, trend, strict=True))

    def _slowest_angle(self, lagged_angle: float) -> float:
        """The lagged angle averaged over about ten cycles."""
        gain = _SLOWEST if any(self.values) else 1.0
        self._lagged_angle += (lagged_angle - self._lagged_angle) * gain
        return self._lagged_angle

    def _groups(self, stats: CycleStats, total: FloatArray) -> tuple[float, float]:
        """Log ratio of the first two groups' |d|, and difference of their lagged angles; see above for one group."""
        if len(stats.lagged) == 1:
            return self._speeds[0] - self._speeds[2], _turning(stats, total)
        squares = stats.gram[:2, 0, 0].tolist()
        angles = [
            _cosine(*three)
            for three in zip(stats.lagged[:2].tolist(), squares, stats.lagged_norms[:2].tolist(), strict=True)
        ]
        return 0.5 * (_log(squares[0]) - _log(squares[1])), angles[0] - angles[1]


class JumpFeatures(Stateful):
    """The features that tell of jumps; the last four are 0 before the first one."""

    _state = ("_since", "_anchor", "_settling", "_size", "_effect", "_gain", "_verdicts")

    def __init__(self, cycle_steps: int) -> None:
        self._cycle_steps = cycle_steps
        self._gain_decay = math.exp(-1 / (_GAIN_CYCLES * cycle_steps))
        self._verdict_decay = math.exp(-1 / (_VERDICT_CYCLES * cycle_steps))
        self._since = math.inf  # full steps since the last jump, or since the start of the cycle
        self._anchor = 0.0  # level of the loss then
        self._settling = 0.0
        self._size = 0.0
        self._effect = 0.0
        self._gain = 0.0
        self._verdicts = 0.0

    def observe_steps(self, steps: StepStats, rows: StepRows) -> FloatArray:
        """Take in full steps; the features (n, 6) after each."""
        jumped = steps.steps_since_jump
        since = np.where(jumped == NEVER, steps.cycle_frac * self._cycle_steps, jumped)
        starts = since <= np.concatenate(([self._since], since[:-1]))
        newest = np.maximum.accumulate(np.where(starts, np.arange(len(since)), -1))
        anchor = np.where(newest >= 0, rows.level_before[newest], self._anchor)
        settling = (rows.fast_loss - anchor) / rows.noise
        values = np.empty((len(since), len(JUMP_NAMES)))
        values[:, 0] = [math.exp(-one) for one in (since / self._cycle_steps).tolist()]
        values[:, 1], values[:, 2], values[:, 3] = settling, self._size, self._effect
        values[:, 4] = _decayed(self._gain, self._gain_decay, len(since))
        values[:, 5] = _decayed(self._verdicts, self._verdict_decay, len(since))
        self._since, self._anchor, self._settling = float(since[-1]), float(anchor[-1]), float(settling[-1])
        self._gain, self._verdicts = values[-1, 4:].tolist()
        return values

    def observe(self, outcome: JumpOutcome, noise: float) -> None:
        """Take in what became of a proposal; `noise` in loss units."""
        self._verdicts += outcome.norm_ratio if outcome.good else -outcome.norm_ratio
        if outcome.kept:
            self._size = outcome.norm_ratio
            self._effect = self._settling if outcome.loss_change is None else outcome.loss_change / noise
            self._gain += outcome.gain


def _turning(stats: CycleStats, total: FloatArray) -> float:
    """Cosine between E and itself a cycle before, from E = (1-mu) d + mu E_before, bias-corrected."""
    mu, cycle = stats.scale, stats.cycle
    lagged, squared_before = float(stats.lagged.sum()), float(stats.lagged_norms.sum())
    inner = ((1 - mu) * lagged + (mu - mu**cycle) * squared_before) / (1 - mu**cycle)
    return _cosine(inner, float(total[1, 1]), squared_before)


def _decayed(start: float, decay: float, num_steps: int) -> FloatArray:
    """A number after each of n steps of decay, one multiplication after the other."""
    factors = np.full(num_steps + 1, decay)
    factors[0] = start
    return np.multiply.accumulate(factors)[1:]


def _log(number: float) -> float:
    return math.log(max(number, _TINY))


def _cosine(inner: float, squared_one: float, squared_other: float) -> float:
    return inner / math.sqrt(max(squared_one * squared_other, _TINY))
