"""Stored measurements for tests of the reports: timings really taken, in files that pyperf itself writes."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyperf

from hpt.machine import describe_machine
from hpt_reports.timings import CONTROL, SCENARIOS

HORIZON = "rssm_prediction/horizon_"


def timed_s(work: Callable[[], object]) -> float:
    """Seconds of one call, never 0."""
    began = time.perf_counter()
    work()
    return max(time.perf_counter() - began, 1e-9)


def units_of(name: str) -> int:
    """Units of work: the predicted steps of a horizon, else one."""
    return int(name.removeprefix(HORIZON)) if name.startswith(HORIZON) else 1


def benchmark(name: str, facts: Mapping[str, str | int | float], *, processes: int, values: int) -> pyperf.Benchmark:
    """A small sum, timed for real; its size grows with the units of work."""
    size = 2000 * units_of(name)
    runs: list[pyperf.Run] = []
    for _ in range(processes):
        metadata = {
            "name": name,
            "date": datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" "),
            "unit": "second",
            "hpt_unit": "predicted step" if name.startswith(HORIZON) else "call",
            "hpt_num_units": units_of(name),
            **facts,
        }
        measured = [timed_s(lambda: sum(range(size))) for _ in range(values)]
        runs.append(pyperf.Run(measured, metadata=metadata, collect_metadata=False))
    return pyperf.Benchmark(runs)


def write_timings(
    folder: Path,
    *,
    preset: str = "default",
    names: tuple[str, ...] = (*SCENARIOS, CONTROL),
    schema: int = 1,
    processes: int = 3,
    values: int = 4,
) -> Path:
    """bench.json and machine.json as `hpt bench` leaves them; returns the former."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"hpt_schema": schema, "hpt_preset": preset, "hpt_mode": "fast", "hpt_threads": 1}
    suite = pyperf.BenchmarkSuite([benchmark(one, facts, processes=processes, values=values) for one in names])
    file = folder / "bench.json"
    suite.dump(str(file), replace=True)
    record: dict[str, Any] = {
        "schema_version": 1,
        "settings": {"mode": "fast", "preset": preset, "threads": 1, "affinity": None},
        "machine": describe_machine(device="cpu", threads=1),
        "started_at": "2026-01-02T03:04:05+00:00",
        "written_at": "2026-01-02T03:05:06+00:00",
        "finished": [one for one in names if one != CONTROL],
        "failed": {},
    }
    (folder / "machine.json").write_text(json.dumps(record), encoding="utf-8")
    return file
