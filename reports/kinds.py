"""The kinds of stored measurement: how each is recognised, what it must hold, what it lacks, and where it was made.

Every kind but those of some scripts stores its schema's number; a newer one than is known here is refused.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyperf

from hpt.bench.measurement import measurement_of
from reports import contents
from reports.provenance import Provenance
from reports.shapes import misfit

SCHEMA = 1
"""Newest version known, of every kind."""
SIDECARS = ("machine.json", "comparison.json", ".done.json")
"""Ends of the names of files beside a measurement: read with it, or saying only what was asked for or is done."""
NUM_SCENARIOS = 16
TRAINER_PARTS = (
    *("config.py", "control", "history.py", "jump", "learned", "memory", "numerics", "predictors", "settings.py"),
    *("trainer", "workloads"),
)
"""Parts of the package `hpt` that any run of the trainer exercises."""
MOMENTS = ("finished_at", "written_at", "measured_at", "started_at")
Document = Mapping[str, Any]


class NotEvidence(Exception):
    """A file that is left out: `word` is corrupt, foreign or newer."""

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(reason)
        self.word = word


def _own_command(document: Document) -> str | None:
    command = document.get("command")
    if isinstance(command, list):
        return " ".join(str(word) for word in command)
    return command if isinstance(command, str) else None


def _with_nothing(file: Path, document: Document) -> dict[str, Any]:
    del file
    return dict(document)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Kind:
    """One kind of measurement.

    Attributes:
        name: in labels.
        title: in tables.
        command: makes such a measurement.
        is_in: the document is of this kind.
        shape: what the pages read of it, see shapes.py.
        parts: of the package `hpt` that were measured: a change in them makes the measurement old.
        has_schema: it stores the number of its schema.
        companions: files beside it whose bytes count as its own.
        with_companions: the document with what lies beside it; raises NotEvidence where that is damaged.
        lacks: what is unfinished, in words.
    """

    name: str
    title: str
    command: str
    is_in: Callable[[Document], bool]
    shape: Any
    parts: tuple[str, ...] = TRAINER_PARTS
    has_schema: bool = True
    companions: Callable[[Path], list[Path]] = lambda _: []
    with_companions: Callable[[Path, Document], dict[str, Any]] = _with_nothing
    lacks: Callable[[Document], Iterable[str]] = lambda _: ()

    def complete(self, file: Path, document: Document) -> dict[str, Any]:
        """The document with what lies beside it, of the shape that the pages read.

        Raises:
            NotEvidence: it is damaged, or of a newer schema.
        """
        if self.has_schema:
            _refuse_newer("schema_version", document.get("schema_version"))
        _refuse_misfit(document, self.shape)
        _refuse_misfit(document, {"machine?": contents.MACHINE})
        return self.with_companions(file, document)

    def provenance(self, document: Document) -> Provenance:
        """Machine, commit, day, command."""
        machine = document.get("machine") or document.get("environment")
        return Provenance(machine, _moment(document) or "", _own_command(document) or self.command)


def _moment(document: Document) -> str | None:
    return next((document[name] for name in MOMENTS if isinstance(document.get(name), str)), None)


def _refuse_newer(name: str, version: object) -> None:
    if not isinstance(version, int) or version > SCHEMA:
        raise NotEvidence("newer", f"{name} {version!r}, this hpt reads up to {SCHEMA}")


def _refuse_misfit(document: Document, shape: Any, where: str = "") -> None:
    found = misfit(document, shape, where)
    if found is not None:
        raise NotEvidence("corrupt", found)


def _has(*names: str) -> Callable[[Document], bool]:
    return lambda document: set(names) <= set(document)


def _calls_itself(kind: str) -> Callable[[Document], bool]:
    return lambda document: document.get("kind") == kind


def _timing_with_session(file: Path, document: Document) -> dict[str, Any]:
    """The suite, and machine.json beside it."""
    try:
        suite = pyperf.BenchmarkSuite.loads(json.dumps(document))
        metadata = {one.get_name(): one.get_metadata() for one in suite.get_benchmarks()}
        for one in suite.get_benchmarks():
            measurement_of(one)
    except Exception as error:
        raise NotEvidence("corrupt", f"pyperf cannot read it: {type(error).__name__}: {error}") from error
    versions = [one.get("hpt_schema") for one in metadata.values()]
    if not versions or None in versions:
        raise NotEvidence("foreign", "a pyperf file that hpt bench did not write")
    for name, one in metadata.items():
        _refuse_newer("hpt_schema", one["hpt_schema"])
        _refuse_misfit(one, contents.TIMING, name)
    facts, session = next(iter(metadata.values())), _session(file)
    return {
        "suite": suite,
        "facts": facts,
        "session": session,
        "machine": session.get("machine") or _machine_inside(facts),
        "finished_at": _end_of(suite) or _moment(session),
        "command": _timing_command(facts),
    }


def _timing_companions(file: Path) -> list[Path]:
    """Settings, machine and failures."""
    beside = file.parent / "machine.json"
    return [beside] if file.name == "bench.json" and beside.exists() else []


def _session(file: Path) -> dict[str, Any]:
    for beside in _timing_companions(file):
        try:
            document = json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise NotEvidence("corrupt", f"{beside.name} beside it cannot be read: {error}") from error
        _refuse_misfit(document, contents.SESSION, beside.name)
        return document
    return {}


def _timing_lacks(document: Document) -> list[str]:
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


def _memory_with_calls(file: Path, document: Document) -> dict[str, Any]:
    """A row a call from steps.csv beside it; None without that file."""
    beside = file.parent / "steps.csv"
    if not beside.exists():
        return {**document, "calls": None}
    try:
        with beside.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, ValueError, csv.Error) as error:
        raise NotEvidence("corrupt", f"{beside.name} beside it cannot be read: {error}") from error
    lacking = sorted(contents.CALL_COLUMNS - set(rows[0] if rows else contents.CALL_COLUMNS))
    if lacking:
        raise NotEvidence("corrupt", f"{beside.name} beside it has no column {lacking[0]}")
    return {**document, "calls": rows}


def _memory_lacks(document: Document) -> list[str]:
    """Arms or drills that did not run to their end."""
    found = {**document["arms"], **document["drills"]}
    broken = [name for name, one in found.items() if one.get("status") not in (None, "done")]
    return [f"did not finish: {', '.join(broken)}"] if broken else []


def _comparison_lacks(document: Document) -> list[str]:
    """Cells without a result."""
    failed = document.get("failed") or {}
    return [] if document.get("complete", False) else [f"not every cell has a result ({len(failed)} failed)"]


def _release_lacks(document: Document) -> list[str]:
    """Steps that were left out."""
    left = [str(step["name"]) for step in document["steps"] if step["status"] == "not run"]
    return [f"not run: {', '.join(left)}"] if left else []


TIMING = Kind(
    name="timing",
    title="benchmarks",
    command="hpt bench all --rigorous --out runs/bench",
    is_in=lambda one: isinstance(one.get("benchmarks"), list) and isinstance(one.get("version"), str),
    shape={},
    parts=("bench", "config.py", "jump", "learned", "numerics", "predictors", "trainer"),
    has_schema=False,
    companions=_timing_companions,
    with_companions=_timing_with_session,
    lacks=_timing_lacks,
)
MEMORY = Kind(
    name="memory",
    title="memory validation",
    command="hpt validate-vram --model gpt2 --out runs/vram",
    is_in=_has("arms", "checks"),
    shape=contents.MEMORY,
    parts=(*TRAINER_PARTS, "validate"),
    with_companions=_memory_with_calls,
    lacks=_memory_lacks,
)
COMPARISON = Kind(
    name="comparison",
    title="comparison with a baseline",
    command="hpt compare --budget standard --tune --out runs/compare",
    is_in=_calls_itself("comparison"),
    shape=contents.COMPARISON,
    parts=(*TRAINER_PARTS, "compare"),
    lacks=_comparison_lacks,
)
PROFILE = Kind(
    name="profile",
    title="profile of a step",
    command="hpt profile --workload byte-gpt --out runs/profile",
    is_in=_calls_itself("profile"),
    shape=contents.PROFILE,
    parts=(*TRAINER_PARTS, "profile"),
)
TRAINING = Kind(
    name="training",
    title="training run",
    command="hpt train --workload byte-gpt --steps 600 --out runs/first",
    is_in=lambda one: {"status", "workload", "config", "settings"} <= set(one) and "arms" not in one,
    shape=contents.TRAINING,
    lacks=lambda one: [] if one["status"] == "done" else [f"status {one['status']}"],
)
PREDICTION = Kind(
    name="prediction",
    title="paired runs with and without prediction",
    command="hpt compare --workloads byte-gpt=2000 --arms unlearned,never,first-jump --seeds 5 --out runs/prediction",
    is_in=_has("what", "workload", "steps", "summary", "cells"),
    shape=contents.PREDICTION,
    has_schema=False,
    with_companions=lambda _, one: {"environment": one["cells"][-1].get("environment"), **one},
)
OVERHEAD = Kind(
    name="overhead",
    title="overhead of a full step",
    command="hpt profile --overhead --workload byte-gpt --threads 1 --blocks 120 --out runs/overhead",
    is_in=_has("what", "ratio", "ratio_low", "ratio_high", "plain_step_s", "blocks"),
    shape=contents.OVERHEAD,
    has_schema=False,
)
WALL = Kind(
    name="wall",
    title="wall time of the documented run",
    command="hpt compare --workloads byte-gpt=600 --arms hybrid,never --seeds 6 --clock 6 --out runs/wall",
    is_in=_has("what", "wall_ratio", "loss_ratio", "pairs"),
    shape=contents.WALL,
    has_schema=False,
    with_companions=lambda _, one: {"environment": one["pairs"][-1]["rssm"].get("environment"), **one},
)
ALARMS = Kind(
    name="alarms",
    title="false alarms and a planted slowdown",
    command="python scripts/measure_alarms.py --out runs/alarms --result reports/evidence/alarms.json",
    is_in=_has("what", "same_code", "planted", "sampling"),
    shape=contents.ALARMS,
    parts=("bench",),
)
SURVIVAL = Kind(
    name="survival",
    title="healthy runs, and planted faults",
    command="python scripts/measure_survival.py --result reports/evidence/survival.json",
    is_in=_calls_itself("survival"),
    shape=contents.SURVIVAL,
)
RELEASE = Kind(
    name="release",
    title="release check",
    command="hpt release-check",
    is_in=_calls_itself("release-check"),
    shape=contents.RELEASE,
    parts=(),
    lacks=_release_lacks,
)
KINDS: Sequence[Kind] = (
    *(TIMING, MEMORY, COMPARISON, PROFILE, TRAINING, PREDICTION, OVERHEAD, WALL, ALARMS, SURVIVAL, RELEASE),
)


def kind_of(document: Document) -> Kind:
    """What a document is.

    Raises:
        NotEvidence: nothing that hpt measured.
    """
    for kind in KINDS:
        if kind.is_in(document):
            return kind
    raise NotEvidence("foreign", "JSON, but no measurement of hpt")
