"""How far estimated peaks of memory are from measured ones, on the host, one configuration after the other.

    measured     the most that the process holds while HybridTrainer trains for a few updates, above what it held before
                 the model was made. malloc maps every block of 64 KiB by itself, so that what is freed leaves at once
    estimated    `hpt.estimate_memory` on the same model

Both in a process of their own, a measurement also in one thread. Measurements are stored as they end; the same command
goes on where it was stopped, and estimates anew. Nothing is measured on a GPU.

    python scripts/measure_estimates.py --runs runs/estimates --result reports/evidence/estimates.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from estimate_cells import CELLS, Cell

from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.records import jsonable
from hpt.run.processes import ChildJob, run_jobs

MEASURED, ESTIMATED = "measure_cell", "estimate_cell"
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024),
    "MALLOC_TOP_PAD_": str(64 * 1024),
}
WORST_FRAC, MEDIAN_FRAC = 0.08, 0.03
MIB = 1024**2
Row = dict[str, Any]


def run(cell: Cell, what: str, environment: dict[str, str]) -> Row:
    """What a process of its own finds out about a cell."""
    job = ChildJob(key=cell.name, target=f"estimate_cells:{what}", arguments=asdict(cell), environment=environment)
    (end,) = run_jobs([job])
    if end.error is not None:
        sys.exit(f"{cell.name}: {end.error}\n{end.words}")
    return end.documents[-1]


def row_of(cell: Cell, runs: Path) -> Row:
    """Measurement, stored or made, and estimate of one cell."""
    file = runs / f"{cell.name}.json"
    if not file.exists():
        write_json(file, jsonable(run(cell, MEASURED, {"OMP_NUM_THREADS": "1", **ALLOCATOR})))
    measured = json.loads(file.read_text(encoding="utf-8"))
    estimated = run(cell, ESTIMATED, {"OMP_NUM_THREADS": "1"})
    peak = measured["peak_bytes"]
    return {
        "name": cell.name,
        "settings": asdict(cell),
        "measured": measured,
        **estimated,
        "measured_cuda": "not measured",
        "error_frac": estimated["estimated_bytes"] / peak - 1.0,
        "falsely_fits": estimated["least_budget_bytes"] < peak,
    }


def summary_of(rows: Sequence[Row]) -> Row:
    """Median and worst error, and false promises to fit."""
    errors = [abs(row["error_frac"]) for row in rows]
    found = {"median_error_frac": median(errors), "worst_error_frac": max(errors), "configurations": len(rows)}
    found["falsely_fits"] = [row["name"] for row in rows if row["falsely_fits"]]
    limits = {"median_error_frac": MEDIAN_FRAC, "worst_error_frac": WORST_FRAC}
    is_within = all(found[name] <= limit for name, limit in limits.items()) and not found["falsely_fits"]
    return found | {"limits": limits, "is_within": is_within}


def told(row: Row) -> str:
    """A row in a line."""
    measured, estimated = (count / MIB for count in (row["measured"]["peak_bytes"], row["estimated_bytes"]))
    return f"{row['name']:45s} {measured:8.1f} MiB measured, {estimated:8.1f} estimated, {row['error_frac']:+.2%}"


def main() -> None:
    """Measure what is not stored, estimate everything, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/estimates"))
    parser.add_argument("--result", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.runs.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for cell in CELLS:
        rows.append(row_of(cell, chosen.runs))
        print(told(rows[-1]), flush=True)
    summary = summary_of(rows)
    document = {
        "schema_version": 1,
        "kind": "estimates",
        "what": "peak memory of training on the host, estimated and measured",
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
