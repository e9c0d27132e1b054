"""A ratio over seeds with its intervals: averaged as a logarithm, shown as a ratio."""

import math
from dataclasses import dataclass
from typing import Any

from hpt.statistics import Estimate, estimate


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio over seeds; `estimate` is in logarithms.

    Attributes:
        estimate: of the logarithm.
        by_seed: in the order of seeds; 0 for a diverged run.
        side: "above" or "below" if some seed lies outside the lengths measured, so that the ratio is a bound.
    """

    estimate: Estimate
    by_seed: tuple[float, ...]
    side: str

    @property
    def value(self) -> float:
        """Geometric mean over seeds; 0 if a run diverged."""
        return math.exp(self.estimate.value)

    @property
    def low(self) -> float | None:
        """Lower end of the wider 95 % interval; None with fewer than two seeds."""
        return _exp(self.estimate.low)

    @property
    def high(self) -> float | None:
        """Upper end of the wider 95 % interval; None with fewer than two seeds, or if a run diverged."""
        return _exp(self.estimate.high)

    @property
    def words(self) -> str:
        """'1.12x [1.05, 1.20]', with the direction where it is only a bound."""
        return ratio_words(self.value, self.low, self.high, self.side or None)

    def to_document(self) -> dict[str, Any]:
        """Value, both ends of each kind of interval, p-value and ratios by seed; None for an end that is not finite."""
        ends = ("t_low", "t_high", "boot_low", "boot_high")
        known = {name: _exp(getattr(self.estimate, name)) for name in ends}
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            **known,
            "p": self.estimate.p,
            "by_seed": list(self.by_seed),
            "bound": self.side or None,
        }


def _exp(log: float | None) -> float | None:
    return None if log is None or log == math.inf else math.exp(log)


def excess(one: Ratio, other: Ratio) -> Ratio:
    """One ratio over another that has no diverged run, seed by seed; both must have the same seeds."""
    logs = [log_of(a) - math.log(b) for a, b in zip(one.by_seed, other.by_seed, strict=True)]
    return Ratio(estimate(logs), tuple(math.exp(log) for log in logs), one.side or other.side)


def log_of(ratio: float) -> float:
    """Logarithm of a ratio; minus infinity for that of a diverged run."""
    return math.log(ratio) if ratio > 0.0 else -math.inf


def ratio_words(value: float, low: float | None, high: float | None, bound: str | None) -> str:
    """'>=1.120x [1.050, 1.200]'; `bound` is "above" or "below" where the ratio is only a bound, else None."""
    sign = {"above": ">=", "below": "<=", None: ""}[bound]
    if low is None and high is None:
        return f"{sign}{value:.3f}x (one seed)"
    ends = ", ".join("-" if end is None else f"{end:.3f}" for end in (low, high))
    return f"{sign}{value:.3f}x [{ends}]"
