"""Stored measurements made whole: what lies beside their file, and what is unfinished in them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyperf

from hpt.bench.measurement import measurements_in, parse_suite
from hpt.documents import DocumentError, fit, read_bytes, read_document
from hpt_reports.contents import memory
from hpt_reports.contents.origin import Session
from hpt_reports.kind import Document, moment_of

NUM_SCENARIOS = 16


def timing_with_session(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The suite, and machine.json beside it."""
    suite = parse_suite(json.dumps(document).encode(), file)
    measurements_in(suite, file)
    facts, session = dict(suite.get_benchmarks()[0].get_metadata()), _session(file)
    return {
        "suite": suite,
        "facts": facts,
        "session": session,
        "machine": session.get("machine") or _machine_inside(facts),
        "finished_at": _end_of(suite) or moment_of(session),
        "command": _timing_command(facts),
    }


def timing_companions(file: Path) -> list[Path]:
    """Settings, machine and failures."""
    beside = file.parent / "machine.json"
    return [beside] if file.name == "bench.json" and beside.exists() else []


def _session(file: Path) -> dict[str, Any]:
    for beside in timing_companions(file):
        return dict(read_document(beside, Session))
    return {}


def timing_lacks(document: Document) -> list[str]:
    """Failed or unmeasured scenarios."""
    names = [one.get_name() for one in document["suite"].get_benchmarks()]
    count = sum(name != "control" for name in names)
    failed = document["session"].get("failed") or {}
    found = [f"{name} failed: {why}" for name, why in failed.items()]
    return found + ([f"{count} of {NUM_SCENARIOS} scenarios"] if count < NUM_SCENARIOS else [])


def _machine_inside(facts: Document) -> dict[str, Any]:
    """The machine as a pyperf file alone tells it."""
    names = ("cpu_model", "num_cores", "threads", "python", "torch", "numpy", "commit", "is_dirty")
    found = {name: facts.get(f"hpt_{name}") for name in names}
    return found | {"is_dirty": None if found["is_dirty"] is None else bool(found["is_dirty"])}


def _end_of(suite: pyperf.BenchmarkSuite) -> str | None:
    ends = [last for one in suite.get_benchmarks() if (last := one.get_dates()) is not None]
    return max(end for _, end in ends).isoformat(timespec="seconds") if ends else None


def _timing_command(facts: Document) -> str:
    preset, mode = facts.get("hpt_preset", "default"), str(facts.get("hpt_mode"))
    flag = f" --{mode}" if mode in ("fast", "rigorous") else ""
    return f"hpt bench all{flag} --preset {preset} --threads {facts.get('hpt_threads', 1)} --out runs/bench-{preset}"


def memory_with_calls(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A row a call from steps.csv beside it; None without that file."""
    beside = file.parent / "steps.csv"
    if not beside.exists():
        return {**document, "calls": None}
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(beside).decode(), newline="")))
    except (ValueError, csv.Error) as error:
        raise DocumentError(beside, f"it is no table ({error})") from error
    return {**document, "calls": fit(json.dumps(rows).encode(), list[memory.Call], beside, is_strict=False)}


def memory_lacks(document: Document) -> list[str]:
    """Arms or drills that did not run to their end."""
    found = {**document["arms"], **document["drills"]}
    broken = [name for name, one in found.items() if one.get("status") not in (None, "done")]
    return [f"did not finish: {', '.join(broken)}"] if broken else []


def comparison_lacks(document: Document) -> list[str]:
    """Cells without a result."""
    failed = document.get("failed") or {}
    return [] if document.get("complete", False) else [f"not every cell has a result ({len(failed)} failed)"]


def release_lacks(document: Document) -> list[str]:
    """Steps that were left out."""
    left = [str(step["name"]) for step in document["steps"] if step["status"] == "not run"]
    return [f"not run: {', '.join(left)}"] if left else []
