"""How far estimated peaks of memory are from measured ones, one configuration after the other.

    estimated    `hpt.estimate_memory` on the model
    mapped       measured on the host: the most that the process holds while HybridTrainer trains for a few updates,
                 above what it held before the model was made; malloc maps every block of 64 KiB by itself, so that
                 what is freed leaves at once
    default      the same with malloc as it comes, which keeps some of what is freed
    cuda         measured on a GPU: the most that tensors take, above what libraries took before

Each in a process of its own, on the host in one thread. Measurements are stored as they end; the same command goes on
where it was stopped. What was not measured is said to be so.

    python scripts/measure_estimates.py --runs runs/estimates --measure mapped,default
    python scripts/measure_estimates.py --runs runs/estimates --measure cuda --jobs 4
    python scripts/measure_estimates.py --runs runs/estimates --result reports/evidence/estimates.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from estimate_cells import CELLS, Cell

from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.memory.fitting import CONTEXT_BYTES
from hpt.records import jsonable
from hpt.run.processes import ChildJob, JobEnd, run_jobs

ESTIMATED = "estimate_cell"
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024),
    "MALLOC_TOP_PAD_": str(64 * 1024),
}
ASSUMED_BYTES = {"cuda": CONTEXT_BYTES}
"""Part of a budget that is not for tensors, and so is none of their measured peak."""
WORST_FRAC, MEDIAN_FRAC = 0.08, 0.03
MIB = 1024**2
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """How peaks are measured.

    Attributes:
        target: of the process.
        environment: of the process, None where it matters not.
    """

    target: str
    environment: dict[str, str]


ONE_THREAD = {"OMP_NUM_THREADS": "1"}
WAYS = {
    "mapped": Way("measure_cell", ONE_THREAD | ALLOCATOR),
    "default": Way("measure_cell", ONE_THREAD),
    "cuda": Way("measure_cell_on_cuda", ONE_THREAD),
}


def job_of(cell: Cell, target: str, environment: dict[str, str]) -> ChildJob:
    """A process for a cell."""
    return ChildJob(key=cell.name, target=f"estimate_cells:{target}", arguments=asdict(cell), environment=environment)


def measure(cells: Sequence[Cell], way: str, runs: Path, at_once: int) -> None:
    """Measure what is not stored."""
    folder = runs / way
    folder.mkdir(parents=True, exist_ok=True)

    def keep(end: JobEnd) -> None:
        if end.error is not None:
            print(f"{end.job.key}: {end.error}\n{end.words}", file=sys.stderr, flush=True)
            return
        write_json(folder / f"{end.job.key}.json", jsonable(end.documents[-1]))
        print(f"{way}: {end.job.key} {end.documents[-1]['peak_bytes'] / MIB:.1f} MiB", flush=True)

    missing = [cell for cell in cells if not (folder / f"{cell.name}.json").exists()]
    chosen = WAYS[way]
    run_jobs([job_of(one, chosen.target, chosen.environment) for one in missing], at_once=at_once, on_end=keep)


def estimates_of(cells: Sequence[Cell], at_once: int) -> dict[str, Row]:
    """Estimates by cell."""
    found: dict[str, Row] = {}

    def keep(end: JobEnd) -> None:
        if end.error is not None:
            sys.exit(f"{end.job.key}: {end.error}\n{end.words}")
        found[end.job.key] = end.documents[-1]

    run_jobs([job_of(one, ESTIMATED, ONE_THREAD) for one in cells], at_once=at_once, on_end=keep)
    return found


def row_of(cell: Cell, estimated: Row, runs: Path) -> Row:
    """A cell's estimates and whatever was measured of it."""
    stored = {way: runs / way / f"{cell.name}.json" for way in WAYS}
    measured = {way: json.loads(file.read_text(encoding="utf-8")) for way, file in stored.items() if file.exists()}
    estimates = {way: estimated["cuda" if way == "cuda" else "cpu"] for way in measured}
    peaks = {way: one["peak_bytes"] for way, one in measured.items()}
    budgets = {way: estimates[way]["least_budget_bytes"] - ASSUMED_BYTES.get(way, 0) for way in measured}
    return {
        "name": cell.name,
        "settings": asdict(cell),
        "estimated": estimated,
        "measured": measured,
        "error_frac": {way: estimates[way]["total_bytes"] / peaks[way] - 1.0 for way in measured},
        "falsely_fits": [way for way in measured if budgets[way] < peaks[way]],
    }


def summary_of(rows: Sequence[Row], way: str) -> Row | None:
    """Median and worst error, and false promises to fit; None if nothing was measured that way."""
    errors = [abs(row["error_frac"][way]) for row in rows if way in row["measured"]]
    if not errors:
        return None
    found = {"median_error_frac": median(errors), "worst_error_frac": max(errors), "configurations": len(errors)}
    falsely = [row["name"] for row in rows if way in row["falsely_fits"]]
    is_within = found["median_error_frac"] <= MEDIAN_FRAC and found["worst_error_frac"] <= WORST_FRAC and not falsely
    limits = {"median_error_frac": MEDIAN_FRAC, "worst_error_frac": WORST_FRAC}
    return found | {"falsely_fits": falsely, "limits": limits, "is_within": is_within}


def told(row: Row) -> str:
    """A row in a line."""
    parts = [
        f"{way} {row['measured'][way]['peak_bytes'] / MIB:.1f} {row['error_frac'][way]:+.2%}" for way in row["measured"]
    ]
    return f"{row['name']:45s} MiB measured, error of the estimate: {', '.join(parts) or 'not measured'}"


def main() -> None:
    """Measure what is not stored, or estimate everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/estimates"))
    parser.add_argument("--measure", default="", help=f"ways of {', '.join(WAYS)}")
    parser.add_argument("--only", default="", help="part of a configuration's name")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--result", type=Path)
    chosen = parser.parse_args()
    cells = [cell for cell in CELLS if chosen.only in cell.name]
    for way in filter(None, chosen.measure.split(",")):
        measure(cells, way, chosen.runs, chosen.jobs)
    if chosen.result is None:
        return
    estimates = estimates_of(cells, chosen.jobs)
    rows = [row_of(cell, estimates[cell.name], chosen.runs) for cell in cells]
    print("\n".join(told(row) for row in rows), flush=True)
    summary = {way: summary_of(rows, way) for way in WAYS}
    document = {
        "schema_version": 1,
        "kind": "estimates",
        "what": "peak memory of training, estimated and measured",
        "finished_at": utc_now(),
        "machine": describe_machine(device="cpu", threads=1),
        "allocator": ALLOCATOR,
        "summary": summary,
        "rows": rows,
    }
    write_json(chosen.result, jsonable(document))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
