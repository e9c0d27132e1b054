"""Where time went in stored runs of the trainer: by phase, by part, and for a step that a jump covers."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.evidence import Evidence, Source
from reports.kinds import OVERHEAD, PREDICTION, PROFILE

STEP_WORK = ("forward", "backward", "optimizer")
JUMP_WORK = ("jump", "probe")
PHASES = ("WARMUP", "FULL", "PREDICT", "CORRECT")
DEFAULT_ARM = "default"


@dataclass(frozen=True, slots=True)
class CoveredStep:
    """Cost of a step that a jump covers (jump and probes), over that of a full step."""

    share: float
    source: Source


def full_overhead(evidence: Evidence) -> Source | None:
    """The measurement with the fewest threads, for which the limit is set; of several the newest."""
    return min(evidence.of(OVERHEAD), key=lambda source: int(source.document["threads"]), default=None)


def covered_step(evidence: Evidence, workload: str = "byte-gpt") -> CoveredStep | None:
    """From the newest profile of the workload, else from the paired runs; None if neither has kept jumps."""
    for source in evidence.of(PROFILE):
        share = source.document["parts"]["jump_cost_ratio"]
        if workload_of(source) == workload and share is not None:
            return CoveredStep(float(share), source)
    for source in evidence.of(PREDICTION):
        shares = [share for cell in cells(source) if (share := _share(cell)) is not None]
        if source.document["workload"] == workload and shares:
            return CoveredStep(statistics.median(shares), source)
    return None


def workload_of(source: Source) -> str:
    """Name of a profile's workload."""
    found = source.document["workload"]
    return str(found.get("workload") or found.get("name")) if isinstance(found, Mapping) else str(found)


def cells(source: Source, arm: str = DEFAULT_ARM) -> list[Mapping[str, Any]]:
    """Runs of one arm, by seed."""
    return sorted((one for one in source.document["cells"] if one["arm"] == arm), key=lambda one: one["seed"])


def _share(cell: Mapping[str, Any]) -> float | None:
    parts, counters = cell["seconds"]["part"], cell["counters"]
    covered, updates = counters["steps_covered_by_jumps"], counters["optimizer_updates"]
    step_s = sum(parts.get(name, 0.0) for name in STEP_WORK)
    if not covered or not updates or not step_s:
        return None
    return sum(parts.get(name, 0.0) for name in JUMP_WORK) / covered / (step_s / updates)


def phase_rows(found: Iterable[Mapping[str, Any]]) -> list[dict[str, float | str]]:
    """Calls, seconds a call (median over runs) and share of the time, by phase."""
    runs = list(found)
    rows: list[dict[str, float | str]] = []
    for phase in PHASES:
        per_call = [run["seconds"]["phase"][phase] / run["phases"][phase] for run in runs if run["phases"].get(phase)]
        shares = [run["seconds"]["phase"].get(phase, 0.0) / sum(run["seconds"]["phase"].values()) for run in runs]
        if per_call:
            rows.append(
                {
                    "phase": phase,
                    "calls": statistics.median(run["phases"].get(phase, 0) for run in runs),
                    "call_s": statistics.median(per_call),
                    "share": statistics.median(shares),
                }
            )
    return rows


def part_shares(found: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Share of a run's time by part, median over runs, the largest first."""
    runs = list(found)
    names = sorted({name for run in runs for name in run["seconds"]["part"]})
    shares = {
        name: statistics.median(
            run["seconds"]["part"].get(name, 0.0) / sum(run["seconds"]["part"].values()) for run in runs
        )
        for name in names
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
