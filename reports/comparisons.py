"""Stored comparisons with a baseline, `summary.json` of `hpt compare`: which of them counts for which workload.

Calibrations are arms whose true ratio is known: they show whether the comparison is right.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import DIVERGED, ratio_cell
from hpt_reports.inner_optimizers import HYBRID, has_one, has_several, optimizers_of, over_own
from hpt_reports.kinds import COMPARISON
from hpt_reports.tuning import Standing, of_pair

DEFAULT_ARM = HYBRID
"""The trainer as it comes."""
BUDGETS = ("full", "standard")
"""Budgets whose results count for the targets, the larger first; `quick` is a test of the tool."""
WORKLOADS = ("byte-gpt-b16", "byte-gpt", "mlp", "cnn", "regression")
"""Those that have a target."""
DECIMALS = 6  # beyond them a ratio of equal numbers is only rounding


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured arm on one workload in one comparison.

    Attributes:
        source: the comparison.
        workload, arm: names.
        standing: how well both sides were tuned.
        num_seeds: pairs measured.
        age: 0 for the newest comparison.
    """

    source: Source
    workload: str
    arm: str
    standing: Standing
    num_seeds: int
    age: int

    @property
    def rank(self) -> tuple[bool, Standing, int, int, int]:
        """The least is believed: a budget that counts, tuned, a larger budget, more seeds, newer."""
        place = _place(self.source)
        return place == len(BUDGETS), self.standing, place, -self.num_seeds, self.age

    @property
    def stored(self) -> Mapping[str, Any]:
        """The arm as stored."""
        return self.beside["arms"][self.arm]

    @property
    def beside(self) -> Mapping[str, Any]:
        """The workload as stored: its baseline and all its arms."""
        return self.source.document["workloads"][self.workload]

    @property
    def work_ratio(self) -> Mapping[str, Any]:
        """Its value, low and high; the value is 0 where a run diverged."""
        return self.stored["measures"]["work_ratio"]

    @property
    def over_own(self) -> Mapping[str, Any]:
        """Ratios and judgement against the arm's own inner optimizer by itself."""
        return over_own(self.stored)

    @property
    def accelerates(self) -> bool:
        """The comparison's own verdict."""
        return self.stored["judgement"]["verdict"] == "accelerates"


def comparisons(evidence: Evidence) -> list[Source]:
    """Every comparison that none replaces, the largest budget first.

    In a budget those of the default trainer come first, in them those that are tuned throughout.
    One replaces another of the same budget, device and inner optimizers when it has all its workloads and measured
    arms, and ranks before it in each; of two without a measured arm the newer does.
    """
    stored = [(source, list(findings_in(source, age))) for age, source in enumerate(evidence.of(COMPARISON))]
    kept = [
        (source, found)
        for age, (source, found) in enumerate(stored)
        if not any(_replaces(other, source, found) for other in (stored if found else stored[:age]))
    ]
    return [source for source, _ in sorted(kept, key=_order)]


_Stored = tuple[Source, list[Finding]]


def _replaces(other: _Stored, one: Source, found: list[Finding]) -> bool:
    """`found` are the findings of `one`."""
    source, rivals = other
    ranks = {(rival.workload, rival.arm): rival.rank for rival in rivals}
    return (
        source is not one
        and _setting(source) == _setting(one)
        and set(one.document["workloads"]) <= set(source.document["workloads"])
        and all((name := (each.workload, each.arm)) in ranks and ranks[name] < each.rank for each in found)
    )


def _order(one: _Stored) -> tuple[int, bool, bool, str]:
    source, found = one
    has_default = any(each.arm == DEFAULT_ARM for each in found)
    return _place(source), not has_default, any(each.standing is not Standing.CLOSED for each in found), source.path


def budget_of(source: Source) -> str:
    """Name of its budget."""
    return str(source.document["settings"]["budget"])


def _place(source: Source) -> int:
    """Of its budget among those that count; behind them all if it does not."""
    budget = budget_of(source)
    return BUDGETS.index(budget) if budget in BUDGETS else len(BUDGETS)


def _setting(source: Source) -> tuple[str, str, list[str]]:
    """Budget, device and inner optimizers."""
    return budget_of(source), str(source.document["settings"]["device"]), optimizers_of(source)


def measured_arms(workload: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Arms of a workload that have measures."""
    return {name: arm for name, arm in workload["arms"].items() if arm["measures"] is not None}


def findings(evidence: Evidence) -> list[Finding]:
    """Every measured arm of every stored comparison, the one to believe first."""
    found = [one for age, source in enumerate(evidence.of(COMPARISON)) for one in findings_in(source, age)]
    return sorted(found, key=lambda one: one.rank)


def findings_in(source: Source, age: int = 0) -> Iterator[Finding]:
    """Every measured arm of one comparison, as stored."""
    for workload, values in source.document["workloads"].items():
        for name, arm in measured_arms(values).items():
            yield Finding(source, workload, name, of_pair(values, name), len(arm["measures"]["seeds"]), age)


def best_known(evidence: Evidence, workload: str) -> Finding | None:
    """The default trainer on one workload from a budget that counts, however its sides were tuned.

    Only where AdamW or the workload's own optimizer was the only one: on another it is measured over another baseline.
    """
    wanted = (workload, DEFAULT_ARM)
    found = (one for one in findings(evidence) if (one.workload, one.arm) == wanted and has_one(one.source))
    return next((one for one in found if budget_of(one.source) in BUDGETS), None)


def default_arm(evidence: Evidence, workload: str) -> Finding | None:
    """The same where both sides were tuned and their learning-rate brackets are closed: the targets' value."""
    found = best_known(evidence, workload)
    return found if found is not None and found.standing is Standing.CLOSED else None


@dataclass(frozen=True, slots=True)
class Calibration:
    """One arm of known ratio on one workload; a run that diverged counts as the worst, never as missing.

    Attributes:
        finding: the arm as measured.
        known: the true work ratio; None: it must only not beat its controls.
        over_control: over the best control, None without one.
    """

    finding: Finding
    known: float | None
    over_control: float | None

    @property
    def ends(self) -> tuple[float, float] | None:
        """95 % interval of the work ratio that was found; None where a run diverged."""
        low, high = self.finding.work_ratio["low"], self.finding.work_ratio["high"]
        return (low, high) if low and high is not None and math.isfinite(high) else None

    @property
    def text(self) -> str:
        """The ratio that was found, and its interval."""
        return DIVERGED if self.ends is None else ratio_cell(self.finding.work_ratio)

    @property
    def half_width(self) -> float:
        """.10 for an interval of +-10 %."""
        return math.inf if self.ends is None else math.sqrt(self.ends[1] / self.ends[0]) - 1.0

    @property
    def is_found(self) -> bool:
        """The interval holds the known ratio, or nothing was claimed where nothing is to be found."""
        if self.known is None:
            return not self.finding.accelerates
        return self.ends is not None and self.ends[0] <= self.known <= self.ends[1]


def calibration(evidence: Evidence, arm: str) -> Calibration | None:
    """An arm from the comparison to believe first: a budget that counts, one optimizer, tuned with a closed bracket."""
    for one in findings(evidence):
        is_sound = budget_of(one.source) in BUDGETS and one.standing is Standing.CLOSED
        if one.arm == arm and is_sound and not has_several(one.source) and (found := calibration_of(one)) is not None:
            return found
    return None


def calibration_of(one: Finding) -> Calibration | None:
    """None for other arms."""
    if one.stored["role"] != "calibration":
        return None
    over = one.stored["judgement"]["over_control"]
    return Calibration(one, one.stored["known_ratio"], None if over is None else round(float(over["value"]), DECIMALS))
