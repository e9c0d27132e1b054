"""What is worth its place: the default trainer over itself without each of its parts."""

from collections.abc import Iterator, Mapping
from typing import Any

from hpt.compare.arms import WITHOUT
from hpt.statistics import ROUNDING
from hpt_reports.evidence import Source
from hpt_reports.formatting import harmless, ratio_cell, table
from hpt_reports.page import Links


def ablation_table(source: Source, links: Links) -> str:
    """A row a workload and part, then over all workloads; "" for a comparison without ablations."""
    rows = [
        {
            "workload": harmless(where),
            "arm": harmless(arm),
            "part": harmless(other.removeprefix(WITHOUT)),
            "work ratio, with it over without": ratio_cell(found),
            "worth": worth(found),
        }
        for where, arm, other, found in _parts(source)
    ]
    return table(rows, links.to(source))


def _parts(source: Source) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Workload, arm, ablation, and the arm's work ratio over that of the ablation."""
    everywhere = {name: one["arms"] for name, one in source.document["workloads"].items()}
    for where, arms in (*everywhere.items(), ("all workloads", source.document["overall"])):
        for name, arm in arms.items():
            for other, found in (arm.get("over") or {}).items():
                if other.startswith(WITHOUT):
                    yield where, name, other, found


def worth(found: Mapping[str, Any]) -> str:
    """What the interval of a ratio says of the part that the other side lacks."""
    low, high = found["low"], found["high"]
    if low is not None and low > 1.0 + ROUNDING:
        return "worth its place"
    return "in the way" if high is not None and high < 1.0 - ROUNDING else "not shown"
