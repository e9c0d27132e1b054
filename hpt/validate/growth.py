"""Growth of memory: the slope of a line through like steps, with an interval that knows they are not independent.

Ordinary least squares; its interval is widened for the first-order autocorrelation r of the residuals, by
counting n (1 - r) / (1 + r) independent steps (Santer et al., J. Geophys. Res. 105, 2000), and by Student's t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

MIN_STEPS = 8
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Slope:
    """Bytes per step: the estimate, and both ends of its 95 % interval."""

    per_step: float
    low: float
    high: float
    num_steps: int


def slope_of(steps: Sequence[float], values: Sequence[float]) -> Slope | None:
    """Slope of values over steps; None with fewer than MIN_STEPS of them."""
    count = len(steps)
    if count < MIN_STEPS:
        return None
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    square = float(residuals @ residuals)
    if square == 0.0:
        return Slope(slope, slope, slope, count)
    r = max(0.0, float(residuals[1:] @ residuals[:-1]) / square)
    effective = max(3.0, count * (1.0 - r) / (1.0 + r))
    error = math.sqrt(square / (effective - 2.0) / float(centred @ centred))
    half = student_quantile(0.5 + CONFIDENCE / 2.0, effective - 2.0) * error
    return Slope(slope, slope - half, slope + half, count)


def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t: Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5), below 3 degrees exact.

    Args:
        probability: above one half.
        freedom: degrees of freedom, at least 1.
    """
    if freedom < 2.0:
        return math.tan(math.pi * (probability - 0.5))  # Cauchy: one degree, an upper bound up to two
    if freedom < 3.0:
        a = 2.0 * probability - 1.0
        return a * math.sqrt(2.0 / (1.0 - a * a))  # two degrees, an upper bound up to three
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96.0,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160.0,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
