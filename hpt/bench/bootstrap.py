"""How far apart two sets of timings are: ratio of medians, its uncertainty by a hierarchical bootstrap.

Values of one process share its memory layout, hash seed and moment, so the process is what is independent. A resample
draws processes with replacement, then values within each (Davison & Hinkley 1997, section 3.8; for benchmarks:
Kalibera & Jones 2013). Percentiles of so few processes would be too narrow, therefore the bootstrap only gives the
standard error of each side's log median, corrected by sqrt(k / (k - 1)) for k processes, and the tails are Student's,
with Welch's degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpt.statistics import Floats, student_quantile, student_tail

RESAMPLES = 10_000
_CHUNK = 1000  # resamples at once: bounds the memory
_LEAST_ERROR = 1e-12
_WIDEST = 600.0  # of a log ratio's interval, which `exp` can still turn into a number
Processes = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Difference:
    """New over old, on the log scale.

    Attributes:
        log_ratio: of the medians of all values.
        error: standard error; infinite when one side has a single process, whose uncertainty nothing tells.
        degrees: of freedom.
    """

    log_ratio: float
    error: float
    degrees: float

    @property
    def ratio(self) -> float:
        """New over old."""
        return math.exp(self.log_ratio)

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Of the ratio; None when there is none."""
        if math.isinf(self.error):
            return None
        reach = min(student_quantile(0.5 + level / 2, self.degrees) * self.error, _WIDEST)
        return math.exp(self.log_ratio - reach), math.exp(self.log_ratio + reach)

    def p_beyond(self, effect_frac: float) -> float:
        """Two-sided p of "the ratio lies within 1 + effect, up or down"."""
        if math.isinf(self.error):
            return 1.0
        beyond = abs(self.log_ratio) - math.log1p(effect_frac)
        return min(1.0, 2 * student_tail(beyond / max(self.error, _LEAST_ERROR), self.degrees))


def difference(old: Processes, new: Processes, seed: int) -> Difference:
    """Compare two sets of timings, by process, all above 0."""
    draw = np.random.default_rng(seed)
    log_ratio = math.log(_median(new) / _median(old))
    if min(len(old), len(new)) < 2:
        return Difference(log_ratio, math.inf, 1.0)
    variances = [_variance(side, draw) for side in (old, new)]
    total = sum(variances)
    parts = [variance**2 / (len(side) - 1) for variance, side in zip(variances, (old, new), strict=True)]
    degrees = total**2 / sum(parts) if sum(parts) > 0 else float(len(old) + len(new) - 2)
    return Difference(log_ratio, math.sqrt(total), max(1.0, degrees))


def _median(side: Processes) -> float:
    return float(np.median(np.concatenate([np.asarray(process, dtype=float) for process in side])))


def _variance(side: Processes, draw: np.random.Generator) -> float:
    """Variance of one side's log median."""
    log_medians = np.log(resampled_medians(side, RESAMPLES, draw))
    return float(log_medians.var() * len(side) / (len(side) - 1))


def resampled_medians(processes: Processes, num_resamples: int, draw: np.random.Generator) -> Floats:
    """Medians (num_resamples,) of processes drawn with replacement, and as many values of each as the longest has."""
    counts = np.array([len(process) for process in processes])
    most = int(counts.max())
    padded = np.array([[*process, *[math.nan] * (most - len(process))] for process in processes])
    medians: list[Floats] = []
    for first in range(0, num_resamples, _CHUNK):
        chosen = draw.integers(len(processes), size=(min(_CHUNK, num_resamples - first), len(processes)))
        places = draw.random((*chosen.shape, most)) * counts[chosen][..., None]
        values = padded[chosen[..., None], places.astype(np.intp)]
        medians.append(np.median(values.reshape(len(chosen), -1), axis=1))
    return np.concatenate(medians)
