"""Is the harness right? Arms whose true ratio is known, and what the comparisons found for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.comparisons import BUDGETS, Finding, budget_of, findings
from reports.evidence import Evidence, Source
from reports.numbers import DIVERGED, interval, ratio
from reports.tuning import Standing

DECIMALS = 6  # beyond them a ratio of equal numbers is only rounding


@dataclass(frozen=True, slots=True)
class Calibration:
    """One arm of known ratio on one workload.

    Attributes:
        arm, workload: names.
        known: the true work ratio; None: it must only not beat its controls.
        value, low, high: work ratio found; 0, 0 and infinity where a run diverged.
        over_control: over the best control, None without one.
        beats_controls: the comparison calls it an acceleration.
        source: the comparison.
    """

    arm: str
    workload: str
    known: float | None
    value: float
    low: float
    high: float
    over_control: float | None
    beats_controls: bool
    source: Source

    @property
    def has_interval(self) -> bool:
        """No run diverged."""
        return self.low > 0.0 and math.isfinite(self.high)

    @property
    def text(self) -> str:
        """The ratio that was found, and its interval."""
        return f"{ratio(self.value)} {interval(self.low, self.high)}" if self.has_interval else DIVERGED

    @property
    def half_width(self) -> float:
        """.10 for an interval of +-10 %."""
        return math.sqrt(self.high / self.low) - 1.0 if self.has_interval else math.inf

    @property
    def is_found(self) -> bool:
        """The interval holds the known ratio, or nothing was claimed where nothing is to be found."""
        if self.known is None:
            return not self.beats_controls
        return self.has_interval and self.low <= self.known <= self.high


def calibration(evidence: Evidence, arm: str) -> Calibration | None:
    """An arm from the comparison to believe first: a budget that counts, a baseline tuned with a closed bracket."""
    for one in findings(evidence):
        is_sound = budget_of(one.source) in BUDGETS and one.standing is Standing.CLOSED
        if one.arm == arm and is_sound and (found := of_finding(one)) is not None:
            return found
    return None


def of_finding(one: Finding) -> Calibration | None:
    """None for other arms; a run that diverged counts as the worst, never as missing."""
    stored: Mapping[str, Any] = one.stored
    if stored["role"] != "calibration":
        return None
    found, judgement = stored["measures"]["work_ratio"], stored["judgement"]
    over = judgement["over_control"]
    return Calibration(
        arm=one.arm,
        workload=one.workload,
        known=stored["known_ratio"],
        value=float(found["value"]),
        low=float(found["low"] or 0.0),
        high=math.inf if found["high"] is None else float(found["high"]),
        over_control=None if over is None else round(float(over["value"]), DECIMALS),
        beats_controls=judgement["verdict"] == "accelerates",
        source=one.source,
    )
