"""Level, spread and trend of a window of numbers: median, resistant line, least-squares slope, turning points.

Medians and the resistant line are not moved by a few wild numbers. Windows are in order of time, oldest first; that is
the caller's promise.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# 1 / quantile_0.75 of a normal distribution: a median absolute deviation as a standard deviation (Hampel 1974)
MAD_TO_SIGMA = 1.4826
_UPPER_TAIL = 0.95
_UPPER_TAIL_TO_SIGMA = 1.0 / 1.6449  # its quantile in a normal distribution


@dataclass(frozen=True, slots=True)
class TrendLine:
    """A trend line: height at the newest point, slope per step, spread of the points around it."""

    end: float
    slope: float
    spread: float


def median(numbers: FloatArray) -> float:
    """Median of (n,) numbers, n >= 1; by selection, several times faster than `numpy.median` on short arrays."""
    middle = len(numbers) // 2
    if len(numbers) % 2:
        return float(np.partition(numbers, middle)[middle])
    pair = np.partition(numbers, (middle - 1, middle))[middle - 1 : middle + 1]
    return float(pair[0] + pair[1]) / 2


def resistant_line(values: FloatArray) -> TrendLine:
    """Line through the medians of the outer thirds of (n,) values (Tukey 1977), n >= 3.

    The spread is the larger of 1.4826 MAD and the upper 95 % quantile over 1.645: equal for normal
    residuals, the latter larger when the upward tail is heavy, so that a tail is not taken for an
    outlier. Up to 5 % of upward outliers move neither.
    """
    slope, end, residuals = _fit(values)
    rank = math.ceil(_UPPER_TAIL * len(values)) - 1
    upper = float(np.partition(residuals, rank)[rank]) * _UPPER_TAIL_TO_SIGMA
    return TrendLine(end, slope, max(MAD_TO_SIGMA * median(np.abs(residuals)), upper))


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
