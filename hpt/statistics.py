"""Statistics of the harness: Student's t, percentile bootstrap, Holm's correction; plain floats in and out.

With three to five seeds the percentile bootstrap is too narrow and the t interval rests on normality, so both are
computed and claims need both. Student's t is scipy's. The bootstrap draws places in a list and not values, so that
every arm is resampled alike and pairs stay pairs. Never used by the trainer, which does without scipy.
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


def student_tail(t: float, degrees: float) -> float:
    """P(T > t) for Student's t with so many degrees of freedom, whole or not."""
    from scipy.special import stdtr  # noqa: PLC0415 - takes 0.3 s, and most commands never ask

    return float(stdtr(degrees, -t))


def student_quantile(probability: float, degrees: float) -> float:
    """The t below which T lies with that probability."""
    from scipy.special import stdtrit  # noqa: PLC0415 - as above

    return float(stdtrit(degrees, probability))


def student_below(t: Floats, degrees: float) -> Floats:
    """P(T < t), for every element."""
    from scipy.special import stdtr  # noqa: PLC0415 - as above

    return np.asarray(stdtr(degrees, t), dtype=np.float64)


def chi_square_quantile(probability: float, degrees: float) -> float:
    """The x below which chi-square lies with that probability."""
    from scipy.special import chdtri  # noqa: PLC0415 - as above

    return float(chdtri(degrees, 1.0 - probability))


def p_value(mean: float, error: float, degrees: float) -> float:
    """Two-sided p-value of a mean of zero; without any spread 1 at zero and 0 elsewhere."""
    if error <= ROUNDING:
        return 1.0 if abs(mean) <= ROUNDING else 0.0
    return 2.0 * student_tail(abs(mean) / error, degrees)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of at least two values."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def resampled_places(num_values: int, seed: int = 0) -> NDArray[np.intp]:
    """Bootstrap draws of places in a list, (RESAMPLES, num_values); the same at every call."""
    return np.random.default_rng(seed).integers(0, num_values, (RESAMPLES, num_values))


def bootstrap_interval(draws: Floats) -> tuple[float, float]:
    """Percentile interval of `CONFIDENCE`."""
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


def median_estimate(values: Floats) -> tuple[float, float, float]:
    """Median of (n,) values and its bootstrap interval."""
    return float(np.median(values)), *bootstrap_interval(np.median(values[resampled_places(len(values))], axis=1))


def estimate(values: Sequence[float], resample: Callable[[NDArray[np.intp]], Floats] | None = None) -> Estimate:
    """Mean of one value a seed, with both intervals; the null value is zero.

    An infinite value (a diverged run) makes the mean infinite and leaves no interval.

    Args:
        values: by seed.
        resample: statistic of each row of places in `values`; None: the mean.
    """
    if resample is None:
        return mean_over_groups([values])
    return _estimate([values], lambda: resample(resampled_places(len(values))))


def mean_over_groups(groups: Sequence[Sequence[float]]) -> Estimate:
    """Mean of group means, one value a seed in each group; the groups themselves are fixed, not a sample.

    The t interval has Welch's variance and Satterthwaite's degrees of freedom, rounded down, which widens; the
    bootstrap draws seeds within groups.
    """
    return _estimate(groups, lambda: np.mean([_redrawn(group, place) for place, group in enumerate(groups)], axis=0))


def _redrawn(group: Sequence[float], seed: int) -> Floats:
    return np.asarray(group, dtype=np.float64)[resampled_places(len(group), seed)].mean(axis=1)


def _estimate(groups: Sequence[Sequence[float]], draw: Callable[[], Floats]) -> Estimate:
    num_seeds = sum(map(len, groups))
    mean = float(np.mean([np.mean(group) for group in groups]))
    if not math.isfinite(mean):
        return Estimate(mean, -math.inf, math.inf, -math.inf, math.inf, None, num_seeds)
    if min(map(len, groups)) < 2:
        return Estimate(mean, None, None, None, None, None, num_seeds)
    variances = [(standard_error(group) / len(groups)) ** 2 for group in groups]
    error = math.sqrt(sum(variances))
    spread = sum(one**2 / (len(group) - 1) for one, group in zip(variances, groups, strict=True))
    degrees = max(1, int(error**4 / spread + ROUNDING)) if spread > 0.0 else min(map(len, groups)) - 1
    half = error * student_quantile(0.5 + CONFIDENCE / 2, degrees)
    boot_low, boot_high = bootstrap_interval(draw())
    return Estimate(mean, mean - half, mean + half, boot_low, boot_high, p_value(mean, error, degrees), num_seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values of a family (Holm 1979): reject those below alpha, and alpha bounds any false rejection."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
