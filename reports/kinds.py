"""The kinds of stored measurement: how each is recognised, what it must hold, what it lacks, and where it was made."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyperf

from hpt.bench.measurement import measurements_in, parse_suite
from hpt.documents import FOREIGN, DocumentError, fit, read_bytes, read_document
from hpt_reports.contents import (
    attached,
    comparison,
    estimates,
    large,
    memory,
    policies,
    single,
    stopping,
    value_models,
)
from hpt_reports.contents.origin import Session
from hpt_reports.provenance import Provenance

NUM_SCENARIOS = 16
LEAST_SHARE = 0.6
"""Of a kind's fields that a file must have to be a damaged one of that kind, and not something else."""
TRAINER_PARTS = (
    *("config.py", "control", "history.py", "jump", "learned", "memory", "numerics", "predictors", "settings.py"),
    *("trainer", "workloads"),
)
"""Parts of the package `hpt` that any run of the trainer exercises."""
MOMENTS = ("finished_at", "written_at", "measured_at", "started_at")
Document = Mapping[str, Any]
Completed = Callable[[Path, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Kind:
    """One kind of measurement.

    Attributes:
        name: in labels.
        title: in tables.
        command: makes such a measurement.
        fields: by which it is recognised.
        calls_itself: what its field `kind` says, for kinds that have it.
        schema: what the pages read of it; None where `completed` sees to that.
        parts: of the package `hpt` that were measured: a change in them makes the measurement old.
        companions: files beside it whose bytes count as its own.
        completed: the document with what lies beside it; raises DocumentError where that is damaged.
        lacks: what is unfinished, in words.
    """

    name: str
    title: str
    command: str
    fields: frozenset[str]
    calls_itself: str | None = None
    schema: Any
    parts: tuple[str, ...] = TRAINER_PARTS
    companions: Callable[[Path], list[Path]] = lambda _: []
    completed: Completed = lambda _, document: document
    lacks: Callable[[Document], Iterable[str]] = lambda _: ()

    def read(self, file: Path, content: bytes) -> dict[str, Any]:
        """The document as the pages read it, with what lies beside it.

        Raises:
            DocumentError: it is damaged, or of a newer schema.
        """
        return self.completed(file, fit(content, self.schema, file))

    def likeness(self, document: Document) -> float:
        """Share of its fields that a document has; 1 where it says itself that it is of this kind."""
        if self.calls_itself is not None and document.get("kind") == self.calls_itself:
            return 1.0
        return len(self.fields & set(document)) / len(self.fields)

    def provenance(self, document: Document) -> Provenance:
        """Machine, commit, day, command."""
        machine = document.get("machine") or document.get("environment")
        return Provenance(machine, _moment(document) or "", document.get("command") or self.command)


def _moment(document: Document) -> str | None:
    return next((document[name] for name in MOMENTS if document.get(name)), None)


def _timing_with_session(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The suite, and machine.json beside it."""
    suite = parse_suite(json.dumps(document).encode(), file)
    measurements_in(suite, file)
    facts, session = dict(suite.get_benchmarks()[0].get_metadata()), _session(file)
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
        return dict(read_document(beside, Session))
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


def _memory_with_calls(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A row a call from steps.csv beside it; None without that file."""
    beside = file.parent / "steps.csv"
    if not beside.exists():
        return {**document, "calls": None}
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(beside).decode(), newline="")))
    except (ValueError, csv.Error) as error:
        raise DocumentError(beside, f"it is no table ({error})") from error
    return {**document, "calls": fit(json.dumps(rows).encode(), list[memory.Call], beside, is_strict=False)}


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
    fields=frozenset({"benchmarks", "metadata", "version"}),
    schema=dict[str, Any],
    parts=("bench", "config.py", "jump", "learned", "numerics", "predictors", "trainer"),
    companions=_timing_companions,
    completed=_timing_with_session,
    lacks=_timing_lacks,
)
MEMORY = Kind(
    name="memory",
    title="memory validation",
    command="hpt validate-vram --model gpt2 --out runs/vram",
    fields=frozenset({"arms", "drills", "estimates", "checks"}),
    calls_itself="validate-vram",
    schema=memory.Memory,
    parts=(*TRAINER_PARTS, "validate"),
    completed=_memory_with_calls,
    lacks=_memory_lacks,
)
ESTIMATES = Kind(
    name="estimates",
    title="estimated and measured memory",
    command="python scripts/measure_estimates.py --result reports/evidence/estimates.json",
    fields=frozenset({"summary", "rows", "allocator", "what"}),
    calls_itself="estimates",
    schema=estimates.Estimates,
    parts=("memory", "numerics", "optimizers"),
)
COMPARISON = Kind(
    name="comparison",
    title="comparison with a baseline",
    command="hpt compare --budget standard --tune --out runs/compare",
    fields=frozenset({"settings", "workloads", "overall"}),
    calls_itself="comparison",
    schema=comparison.Comparison,
    parts=(*TRAINER_PARTS, "compare", "optimizers"),
    lacks=_comparison_lacks,
)
PROFILE = Kind(
    name="profile",
    title="profile of a step",
    command="hpt profile --workload byte-gpt --out runs/profile",
    fields=frozenset({"workload", "parts", "speed", "reduction"}),
    calls_itself="profile",
    schema=single.Profile,
    parts=(*TRAINER_PARTS, "profile"),
)
TRAINING = Kind(
    name="training",
    title="training run",
    command="hpt train --workload byte-gpt --steps 600 --out runs/first",
    fields=frozenset({"status", "workload", "config", "settings", "seed"}),
    schema=single.Training,
    lacks=lambda one: [] if one["status"] == "done" else [f"status {one['status']}"],
)
OVERHEAD = Kind(
    name="overhead",
    title="overhead of a full step",
    command="hpt profile --overhead --workload byte-gpt --threads 1 --blocks 120 --out runs/overhead",
    fields=frozenset({"what", "ratio", "ratio_low", "ratio_high", "plain_step_s", "blocks"}),
    schema=single.Overhead,
)
ALARMS = Kind(
    name="alarms",
    title="false alarms and a planted slowdown",
    command="python scripts/measure_alarms.py --out runs/alarms --result reports/evidence/alarms.json",
    fields=frozenset({"what", "same_code", "planted", "sampling"}),
    schema=single.Alarms,
    parts=("bench",),
)
SURVIVAL = Kind(
    name="survival",
    title="healthy runs, and planted faults",
    command="python scripts/measure_survival.py --result reports/evidence/survival.json",
    fields=frozenset({"healthy", "planted", "steps"}),
    calls_itself="survival",
    schema=single.Survival,
)
STOPPING = Kind(
    name="stopping",
    title="looking after every seed",
    command="python scripts/measure_stopping.py --result reports/evidence/stopping.json",
    fields=frozenset({"rules", "simulated", "real", "num_series"}),
    calls_itself="stopping",
    schema=stopping.Stopping,
    parts=("compare", "statistics.py"),
)
POLICIES = Kind(
    name="policies",
    title="what policies are worth, and forks",
    command="python scripts/study_forks.py --runs runs/policies --result reports/evidence/policies.json",
    fields=frozenset({"what", "policies", "worth", "candidates"}),
    schema=policies.Policies,
)
VALUE_MODELS = Kind(
    name="value_models",
    title="beliefs about what jumps are worth",
    command="python scripts/fit_values.py --runs runs/policies --result reports/evidence/value_models.json",
    fields=frozenset({"what", "models", "left_out", "num_optimizers"}),
    calls_itself="value-models",
    schema=value_models.ValueModels,
    parts=("control", "learned"),
)
LARGE = Kind(
    name="large",
    title="models for a GPU, with and without jumps",
    command="python scripts/summarize_large.py --runs runs/policies/large --result reports/evidence/large.json",
    fields=frozenset({"what", "autocast", "rows", "trials"}),
    calls_itself="large",
    schema=large.Large,
)
ATTACHED = Kind(
    name="attached",
    title="jumps inside Hugging Face's Trainer",
    command="python scripts/measure_attached.py --seeds 0,1,2,3,4,5,6,7,8 --out reports/evidence/attached_hf.json",
    fields=frozenset({"what", "steps", "losses"}),
    calls_itself="attached",
    schema=attached.Attached,
    parts=(*TRAINER_PARTS, "hooks", "integrations"),
)
RELEASE = Kind(
    name="release",
    title="release check",
    command="hpt release-check",
    fields=frozenset({"steps", "vacuous_tests", "passed"}),
    calls_itself="release-check",
    schema=single.Release,
    parts=(),
    lacks=_release_lacks,
)
KINDS: Sequence[Kind] = (
    *(TIMING, MEMORY, COMPARISON, PROFILE, TRAINING, OVERHEAD, ALARMS, SURVIVAL, STOPPING, POLICIES, VALUE_MODELS),
    *(ESTIMATES, LARGE, ATTACHED, RELEASE),
)


def kind_of(document: Document, file: Path) -> Kind:
    """What a document is, or was before it was damaged.

    Raises:
        DocumentError: nothing that hpt measured.
    """
    kind = max(KINDS, key=lambda one: one.likeness(document))
    if kind.likeness(document) < LEAST_SHARE:
        raise DocumentError(file, "it is JSON, but no measurement of hpt", FOREIGN)
    return kind
