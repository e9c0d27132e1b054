"""Where a window of losses is heading: resistant line, least-squares slope, turning points.

Windows are in order of time, oldest first; that is the caller's promise, and the callers keep deques to
keep it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826  # 1 / quantile_0.75 of a normal distribution
_UPPER_TAIL = 0.95
_UPPER_TAIL_TO_SIGMA = 1.0 / 1.6449  # its quantile in a normal distribution


@dataclass(frozen=True, slots=True)
class Line:
    """A trend line: height at the newest point, slope per step, spread of the points around it."""

    end: float
    slope: float
    spread: float


@dataclass(frozen=True, slots=True)
class Slope:
    """Least-squares slope per step and its standard error, for independent residuals."""

    value: float
    standard_error: float

    def is_flat(self, sigmas: float) -> bool:
        """Not distinguishable from zero at this many standard errors."""
        return abs(self.value) <= sigmas * self.standard_error


def median(values: FloatArray) -> float:
    """Median of (n,) values; `numpy.median` gives the same, several times slower on short arrays."""
    middle = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, middle)[middle])
    ordered = np.partition(values, (middle - 1, middle))
    return float(ordered[middle - 1] + ordered[middle]) / 2.0


def resistant_line(values: FloatArray) -> Line:
    """Line through the medians of the outer thirds of (n,) values (Tukey 1977), n >= 3.

    The spread is the larger of 1.4826 MAD and the upper 95 % quantile over 1.645: equal for normal
    residuals, the latter larger when the upward tail is heavy, so that a tail is not taken for an
    outlier. Up to 5 % of upward outliers move neither.
    """
    slope, end, residuals = _fit(values)
    rank = math.ceil(_UPPER_TAIL * len(values)) - 1
    upper = float(np.partition(residuals, rank)[rank]) * _UPPER_TAIL_TO_SIGMA
    return Line(end, slope, max(MAD_TO_SIGMA * median(np.abs(residuals)), upper))


def detrended(values: FloatArray) -> FloatArray:
    """(n,) values minus their resistant line, n >= 3."""
    return _fit(values)[2]


def least_squares_slope(values: FloatArray) -> Slope:
    """Slope of (n,) values over their index, n >= 3."""
    centred, sum_squares = _centred_ages(len(values))
    deviations = values - float(values.sum()) / len(values)
    slope = float(centred @ deviations) / sum_squares
    residuals = deviations - slope * centred
    variance = float(residuals @ residuals) / (len(values) - 2)
    return Slope(slope, math.sqrt(variance / sum_squares))


def turning_point_score(values: FloatArray) -> float:
    """Standard score of the number of turning points of (n,) values against independent noise, n >= 3.

    Under independent noise of any continuous distribution an inner point is a local extreme with
    probability 2/3; the count has variance (16 n - 29) / 90 (Kendall & Stuart, The Advanced Theory of
    Statistics 3, section 45).
    """
    changes = values[1:] - values[:-1]
    count = int(np.count_nonzero(changes[1:] * changes[:-1] < 0.0))
    size = len(values)
    return (count - 2.0 * (size - 2) / 3.0) / math.sqrt((16.0 * size - 29.0) / 90.0)


def swing_growth(values: FloatArray) -> float:
    """Mean step-to-step change of the later half over the earlier half; infinite from a standstill."""
    changes = np.abs(values[1:] - values[:-1])
    middle = len(changes) // 2
    before = float(changes[:middle].sum()) / middle
    after = float(changes[middle:].sum()) / (len(changes) - middle)
    if before == 0.0:
        return math.inf if after > 0.0 else 1.0
    return after / before


def _fit(values: FloatArray) -> tuple[float, float, FloatArray]:
    """Slope, height at the newest point and residuals of the resistant line."""
    size = len(values)
    third = size // 3
    slope = (median(values[-third:]) - median(values[:third])) / (size - third)
    residuals = values - slope * _ages(size)
    end = median(residuals)
    return slope, end, residuals - end


@lru_cache(maxsize=16)
def _ages(size: int) -> FloatArray:
    """Index of each point, 0 for the newest, negative before: (n,)."""
    ages = np.arange(1.0 - size, 1.0)
    ages.flags.writeable = False
    return ages


@lru_cache(maxsize=16)
def _centred_ages(size: int) -> tuple[FloatArray, float]:
    """Ages minus their mean, and the sum of their squares."""
    centred = _ages(size) + (size - 1.0) / 2.0
    return centred, float(centred @ centred)
