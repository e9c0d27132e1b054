"""Statistics of paired runs: Student t and bootstrap intervals, p-values, Holm's correction. Plain floats in and out.

With three to five seeds the percentile bootstrap is too narrow and the t interval rests on normality, so both are
computed and claims need both. Student's t has a closed form for whole degrees of freedom (Abramowitz and Stegun,
26.7.3 and 26.7.4); others are rounded down, which widens.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 4000
ROUNDING = 1e-9  # logarithms of ratios closer to zero than this are zero
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with two intervals of 95 %; None where fewer than two seeds allow none.

    Attributes:
        value: the estimate.
        t_low, t_high: Student t over seeds.
        boot_low, boot_high: percentile bootstrap over seeds.
        p: two-sided p-value of the null value, by t.
        num_seeds: seeds behind it.
    """

    value: float
    t_low: float | None
    t_high: float | None
    boot_low: float | None
    boot_high: float | None
    p: float | None
    num_seeds: int

    @property
    def low(self) -> float | None:
        """Lower end of the wider of both intervals."""
        return None if self.t_low is None or self.boot_low is None else min(self.t_low, self.boot_low)

    @property
    def high(self) -> float | None:
        """Upper end of the wider of both intervals."""
        return None if self.t_high is None or self.boot_high is None else max(self.t_high, self.boot_high)


def student_cdf(t: float, freedom: int) -> float:
    """Probability that Student's t with `freedom` >= 1 degrees of freedom is below `t`."""
    theta = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(theta), math.cos(theta)
    if freedom % 2:
        term, total = cosine, 0.0
        for k in range(1, freedom // 2 + 1):
            total += term
            term *= cosine**2 * 2 * k / (2 * k + 1)
        inside = 2.0 / math.pi * (theta + sine * total)
    else:
        term, total = 1.0, 0.0
        for k in range(1, freedom // 2 + 1):
            total += term
            term *= cosine**2 * (2 * k - 1) / (2 * k)
        inside = sine * total
    return 0.5 + math.copysign(0.5 * inside, t)


def student_quantile(probability: float, freedom: int) -> float:
    """Inverse of `student_cdf` for probabilities of at least one half, by bisection to full precision."""
    assert 0.5 <= probability < 1.0, f"probability is {probability}, it must lie in [0.5, 1)"
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if student_cdf(middle, freedom) < probability else (low, middle)
    return 0.5 * (low + high)


def t_interval(mean: float, error: float, freedom: int) -> tuple[float, float]:
    """Interval of `CONFIDENCE` around a mean with that standard error."""
    half = error * student_quantile(0.5 + CONFIDENCE / 2, freedom)
    return mean - half, mean + half


def p_value(mean: float, error: float, freedom: int) -> float:
    """Two-sided p-value of a mean of zero; without any spread 1 at zero and 0 elsewhere."""
    if error <= ROUNDING:
        return 1.0 if abs(mean) <= ROUNDING else 0.0
    return 2.0 * (1.0 - student_cdf(abs(mean) / error, freedom))


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of at least two values."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def resampled_seeds(num_seeds: int, seed: int = 0) -> NDArray[np.intp]:
    """Bootstrap draws of seed indices, (RESAMPLES, num_seeds); the same for every arm, so that pairs stay pairs."""
    return np.random.default_rng(seed).integers(0, num_seeds, (RESAMPLES, num_seeds))


def estimate(values: Sequence[float], resample: Callable[[NDArray[np.intp]], Floats] | None = None) -> Estimate:
    """Mean of one value a seed, with both intervals; the null value is zero.

    An infinite value (a diverged run) makes the mean infinite and leaves no interval.

    Args:
        values: by seed.
        resample: statistic of each row of seed indices; None: the mean of the values.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if not math.isfinite(mean):
        return Estimate(mean, -math.inf, math.inf, -math.inf, math.inf, None, len(values))
    if len(values) < 2:
        return Estimate(mean, None, None, None, None, None, len(values))
    error = standard_error(values)
    low, high = t_interval(mean, error, len(values) - 1)
    picks = resampled_seeds(len(values))
    draws = array[picks].mean(axis=1) if resample is None else resample(picks)
    boot_low, boot_high = bootstrap_interval(draws)
    return Estimate(mean, low, high, boot_low, boot_high, p_value(mean, error, len(values) - 1), len(values))


def bootstrap_interval(draws: Floats) -> tuple[float, float]:
    """Percentile interval of `CONFIDENCE`."""
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


def mean_over_groups(groups: Sequence[Sequence[float]]) -> Estimate:
    """Mean of group means, one value a seed in each group; the groups themselves are fixed, not a sample.

    The t interval has Welch's variance and Satterthwaite's degrees of freedom; the bootstrap draws seeds within groups.
    """
    num_seeds = sum(len(group) for group in groups)
    mean = float(np.mean([np.mean(group) for group in groups]))
    if not math.isfinite(mean):
        return Estimate(mean, -math.inf, math.inf, -math.inf, math.inf, None, num_seeds)
    if min(len(group) for group in groups) < 2:
        return Estimate(mean, None, None, None, None, None, num_seeds)
    parts = [(standard_error(group) / len(groups)) ** 2 for group in groups]
    error = math.sqrt(sum(parts))
    spread = sum(part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True))
    freedom = max(1, int(error**4 / spread + ROUNDING)) if spread > 0.0 else 1
    low, high = t_interval(mean, error, freedom)
    rows = [
        np.asarray(group)[resampled_seeds(len(group), seed=index)].mean(axis=1) for index, group in enumerate(groups)
    ]
    boot_low, boot_high = bootstrap_interval(np.mean(rows, axis=0))
    return Estimate(mean, low, high, boot_low, boot_high, p_value(mean, error, freedom), num_seeds)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number (Holm 1979), in the order given; None stays None and is not counted."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[index] = largest
    return corrected
