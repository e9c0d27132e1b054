"""The hybrid on several inner optimizers over all stored comparisons: means over workloads, and the worst pair.

What counts is as elsewhere: a budget that counts, AdamW as the reference, and every side of a ratio tuned with a closed
bracket. Of several comparisons of a workload the one with most optimizers is taken, since its best is the hardest to
beat. That a pair hurts is said however it was tuned; that none does takes tuned ones.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpt.statistics import mean_over_groups
from hpt_reports.bounds import ABOVE, BELOW, bounds_of, direction
from hpt_reports.comparisons import BUDGETS, WORKLOADS, Finding, budget_of, findings
from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import interval, ratio
from hpt_reports.inner_optimizers import (
    ADAMW,
    NO_OTHER,
    beside,
    best_by_itself,
    has_several,
    hybrids_of,
    optimizers_of,
    peers_of,
)
from hpt_reports.tuning import Standing

PEERS = (ADAMW, "muon", "soap")
"""Inner optimizers that the hybrid must not hurt."""
ALL = WORKLOADS
NOISY = tuple(name for name in ALL if name != "regression")
"""Without the one that has no noise, where jumps find nothing to average."""
LEAST_OWN_RATIO = 0.99
REFERENCE: Mapping[str, Any] = {"value": 1.0}
"""The reference over itself."""
LARGEST_LOG = 700.0
"""Its exponential is still a number."""
COMMAND = f"hpt compare --budget standard --optimizers {','.join(PEERS)} --tune --out runs/optimizers"


@dataclass(frozen=True, slots=True)
class Mean:
    """A geometric mean over workloads, as the comparisons themselves make it.

    Attributes:
        value: 0 where a run diverged.
        low, high: 95 % interval; None where one of the workloads has too few seeds for one.
        bounds: of the workloads whose ratio is only a bound, see `bounds_of`.
    """

    value: float
    low: float | None
    high: float | None
    bounds: frozenset[str]

    @property
    def short(self) -> str:
        """The value, and its direction where it rests on bounds."""
        return f"{ratio(self.value)}{direction(self.bounds)}"

    @property
    def text(self) -> str:
        """The same with its interval."""
        return f"{self.short} {interval(self.low, self.high)}"


def _counts(one: Finding) -> bool:
    """Apart from how it was tuned."""
    return budget_of(one.source) in BUDGETS and has_several(one.source) and optimizers_of(one.source)[0] == ADAMW


def on_best(evidence: Evidence, workload: str, side: str, kind: str) -> Finding | None:
    """The hybrid on the best optimizer of a workload, every side tuned; None if that was not measured.

    Args:
        evidence: all stored runs.
        workload: name.
        side: "over_own": on the optimizer that is best by itself; "over_reference": on the one with which the hybrid is
            best, chosen by the seeds that are compared.
        kind: "steps_ratio" or "work_ratio": best after equally many updates, or at equal work.
    """
    found = [
        one
        for one in findings(evidence)
        if one.workload == workload
        and _counts(one)
        and one.standing is Standing.CLOSED
        and one.arm == _best_arm(one.source, one.beside, side, kind)
    ]
    return min(found, key=lambda one: (-len(optimizers_of(one.source)), one.rank), default=None)


def peer_of(evidence: Evidence, workload: str) -> tuple[str, tuple[Source, ...]]:
    """The best other optimizers by themselves at equal work and where they are from, or that none was tried."""
    found = on_best(evidence, workload, "over_own", "work_ratio")
    if found is None:
        return NO_OTHER, ()
    return beside(found.source, found.beside, found.arm), (found.source,)


def _best_arm(source: Source, workload: Mapping[str, Any], side: str, kind: str) -> str | None:
    hybrids = hybrids_of(workload)
    if set(optimizers_of(source)) - set(hybrids):
        return None
    if side == "over_own":
        return hybrids.get(best_by_itself(source, workload, kind) or "")
    return max(hybrids.values(), key=lambda arm: workload["arms"][arm]["measures"][kind]["value"])


def all_on_best(evidence: Evidence, workloads: Sequence[str], side: str, kind: str) -> list[Finding] | None:
    """The same of several workloads; None if one of them lacks it."""
    found = [on_best(evidence, name, side, kind) for name in workloads]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def mean_over(found: Sequence[Finding], side: str, kind: str) -> Mean:
    """Of the hybrid on the best optimizer.

    Args:
        found: a finding a workload, from `all_on_best`.
        side: "over_own" or "over_reference".
        kind: "steps_ratio" or "work_ratio".
    """
    return _mean([(one.over_own if side == "over_own" else one.stored["measures"])[kind] for one in found])


def alone_mean(found: Sequence[Finding], kind: str) -> Mean | None:
    """Of the best optimizer of each workload by itself over the reference, 1 where that is the reference."""
    each = [peers_of(one.beside["arms"]) for one in found]
    if not all(each):
        return None
    return _mean([max((REFERENCE, *(one[kind] for one in peers.values())), key=_value) for peers in each])


def _value(found: Mapping[str, Any]) -> float:
    return float(found["value"])


def _mean(ratios: Sequence[Mapping[str, Any]]) -> Mean:
    groups = [[_log(each) for each in one.get("by_seed") or [one["value"]]] for one in ratios]
    found = mean_over_groups(groups)
    bounds = bounds_of(ratios)
    return Mean(_exp(found.value) or 0.0, _exp(found.low), _exp(found.high), bounds)


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf


def _exp(log: float | None) -> float | None:
    if log is None or log == math.inf:
        return None
    return math.exp(min(log, LARGEST_LOG))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Workloads with an inner optimizer each, and the hybrid over that optimizer by itself.

    Attributes:
        by_name: findings by workload and optimizer of the pairs that are wanted, how they were tuned left aside.
        lacking: those that were not measured with all sides tuned.
    """

    by_name: Mapping[tuple[str, str], Finding]
    lacking: tuple[tuple[str, str], ...]

    @property
    def worst(self) -> tuple[tuple[str, str], Finding]:
        """The pair with the least work ratio over its own optimizer."""
        name = min(self.by_name, key=lambda name: self.by_name[name].over_own["work_ratio"]["value"])
        return name, self.by_name[name]

    @property
    def hurting(self) -> list[tuple[str, str]]:
        """Pairs below the limit, or proven to be below 1."""
        ratios = {name: one.over_own for name, one in self.by_name.items()}
        return [
            name
            for name, own in ratios.items()
            if _is_below(own["work_ratio"], LEAST_OWN_RATIO) or own["judgement"]["verdict"] == "hurts"
        ]

    def above_one(self, measure: str) -> list[tuple[str, str]]:
        """Pairs of which the whole 95 % interval of a measure lies above 1."""
        found = {name: one.over_own[measure] for name, one in self.by_name.items()}
        lows = {name: one["low"] for name, one in found.items() if one.get("bound") != BELOW}
        return [name for name, low in lows.items() if low is not None and low > 1.0]


def _is_below(found: Mapping[str, Any], limit: float) -> bool:
    """A ratio, and not only a bound above which the truth lies."""
    return found["value"] < limit and found.get("bound") != ABOVE


def pairs(evidence: Evidence) -> Pairs:
    """Of every stored comparison of several optimizers, each pair from the one to believe first.

    Of two that were tuned alike and of one budget that is the one with more of the pairs, so that they are counted on
    one machine where they can be.
    """
    wanted = [(workload, optimizer) for workload in NOISY for optimizer in PEERS]
    measured: list[tuple[tuple[str, str], Finding]] = []
    for one in findings(evidence):
        on = next((on for on, arm in hybrids_of(one.beside).items() if arm == one.arm), "")
        if (one.workload, on) in wanted and _counts(one):
            measured.append(((one.workload, on), one))
    sizes = Counter(one.source for _, one in measured)
    found: dict[tuple[str, str], Finding] = {}
    for name, one in sorted(measured, key=lambda each: (each[1].rank[:3], -sizes[each[1].source], each[1].rank[3:])):
        found.setdefault(name, one)
    tuned = {name for name, one in found.items() if one.standing is Standing.CLOSED}
    return Pairs(found, tuple(name for name in wanted if name not in tuned))


def quoted(evidence: Evidence) -> Source | None:
    """The comparison of several optimizers to quote over all its workloads: ranked as its worst, then most of them.

    One of a budget that tests the tool is not quoted.
    """
    ranks: dict[Source, tuple[bool, Standing, int, int, int]] = {}
    for one in findings(evidence):
        head = one.beside.get("headline")
        if _counts(one) and one.source.document.get("headline") and head and head["arm"] == one.arm:
            ranks[one.source] = max(ranks.get(one.source, one.rank), one.rank)
    return min(
        ranks,
        key=lambda source: (ranks[source][:3], -len(source.document["workloads"]), ranks[source][3:]),
        default=None,
    )
