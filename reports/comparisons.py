"""Stored comparisons with tuned baselines: `summary.json` of `hpt compare`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.evidence import Evidence, Source
from reports.kinds import COMPARISON

DEFAULT_ARM = "hybrid"
"""The trainer as it comes."""
BUDGETS = ("full", "standard")
"""Budgets whose results count for the targets; `quick` is a test of the tool."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What the default trainer is worth on one workload.

    Attributes:
        value, low, high: work ratio to the tuned baseline.
        accelerates: the comparison's own verdict.
        source: the comparison.
    """

    value: float
    low: float | None
    high: float | None
    accelerates: bool
    source: Source


def comparisons(evidence: Evidence) -> list[Source]:
    """The newest comparison of each budget, the largest budget first; of several workloads' sets the newest each."""
    found: dict[tuple[str, ...], Source] = {}
    for source in evidence.of(COMPARISON):
        found.setdefault((budget_of(source), *sorted(source.document["workloads"])), source)
    return sorted(found.values(), key=lambda one: (_rank(budget_of(one)), one.path))


def budget_of(source: Source) -> str:
    """Name of its budget."""
    return str(source.document["settings"]["budget"])


def _rank(budget: str) -> int:
    return BUDGETS.index(budget) if budget in BUDGETS else len(BUDGETS)


def measured_arms(workload: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Arms of a workload that have measures."""
    return {name: arm for name, arm in workload["arms"].items() if arm["measures"] is not None}


def default_arm(evidence: Evidence, workload: str) -> Worth | None:
    """The default trainer on one workload, from a comparison whose budget counts."""
    for source in comparisons(evidence):
        if budget_of(source) not in BUDGETS or workload not in source.document["workloads"]:
            continue
        arm = measured_arms(source.document["workloads"][workload]).get(DEFAULT_ARM)
        if arm is not None:
            found = arm["measures"]["work_ratio"]
            accelerates = arm["judgement"]["verdict"] == "accelerates"
            return Worth(float(found["value"]), found["low"], found["high"], accelerates, source)
    return None
