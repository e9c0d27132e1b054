"""Location, spread and deviation that a few wild numbers cannot move: median, MAD, robust z-score.

The median absolute deviation is scaled by 1.4826 so that it estimates the standard deviation of normal numbers (Hampel
1974; Rousseeuw & Croux 1993). Up to half of the numbers may be wild before either breaks down.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAD_TO_SIGMA = 1.482602218505602  # 1 / quantile_0.75 of the standard normal distribution
_RELATIVE_FLOOR = 1e-12  # of the median: numbers that are all alike still give finite scores


def median(numbers: FloatArray) -> float:
    """Median of (n,) numbers, n >= 1; by selection, several times faster than `numpy.median` on short arrays."""
    middle = len(numbers) // 2
    if len(numbers) % 2:
        return float(np.partition(numbers, middle)[middle])
    pair = np.partition(numbers, (middle - 1, middle))[middle - 1 : middle + 1]
    return float(pair[0] + pair[1]) / 2


def median_absolute_deviation(numbers: FloatArray) -> float:
    """Median distance of (n,) numbers from their median, times 1.4826; n >= 1."""
    return MAD_TO_SIGMA * median(np.abs(numbers - median(numbers)))


def robust_z(number: float, numbers: FloatArray) -> float:
    """Deviation of a number from the median of (n,) others, in units of their scaled MAD.

    Where more than half of the others are equal the MAD is 0; 1e-12 of the median then stands in for it, and the score
    is large but finite for any other number.
    """
    centre = median(numbers)
    floor = max(_RELATIVE_FLOOR * abs(centre), np.finfo(np.float64).tiny)
    return (number - centre) / max(median_absolute_deviation(numbers), floor)
