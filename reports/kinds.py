"""The kinds of stored measurement: how each is recognised, what it lacks, and where it was made.

    timing       `hpt bench`: a pyperf file with hpt's metadata, machine.json beside it
    memory       `hpt validate-vram`: run.json with arms and checks
    comparison   `hpt compare`: summary.json
    profile      `hpt profile`
    training     `hpt train`: run.json
    prediction   scripts/measure_prediction.py
    overhead     scripts/measure_overhead.py
    wall         scripts/measure_wall.py
    alarms       scripts/measure_alarms.py
    release      `hpt release-check`

Every kind but those of the scripts stores its schema's number; a newer one than is known here is refused.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyperf

from reports.kind import TRAINER_PARTS, Document, Kind, NotEvidence, own_command
from reports.provenance import Provenance, provenance_of
from reports.script_kinds import ALARMS, OVERHEAD, PREDICTION, WALL

SIDECARS = ("machine.json", "comparison.json", ".done.json")
"""Ends of the names of files beside a measurement: read with it, or saying only what was asked for or is done."""
NUM_SCENARIOS = 16


class Timing(Kind):
    """Benchmarks."""

    name = "timing"
    title = "benchmarks"
    command = "hpt bench all --rigorous --out runs/bench"
    parts = ("bench", "config.py", "learned", "numerics", "predictors", "trainer")

    def is_in(self, document: Document) -> bool:
        """A pyperf file, ours or not."""
        return isinstance(document.get("benchmarks"), list) and isinstance(document.get("version"), str)

    def complete(self, file: Path, document: Document) -> dict[str, Any]:
        """The suite, and machine.json beside it.

        Raises:
            NotEvidence: pyperf cannot read it, or `hpt bench` did not write it.
        """
        try:
            suite = pyperf.BenchmarkSuite.loads(json.dumps(document))
            metadata = [one.get_metadata() for one in suite.get_benchmarks()]
        except Exception as error:
            raise NotEvidence("corrupt", f"pyperf cannot read it: {type(error).__name__}: {error}") from error
        versions = [one.get("hpt_schema") for one in metadata]
        if not versions or None in versions:
            raise NotEvidence("foreign", "a pyperf file that hpt bench did not write")
        if max(versions) > self.schema:
            raise NotEvidence("newer", f"hpt_schema {max(versions)}, this hpt reads up to {self.schema}")
        return {"suite": suite, "facts": metadata[0], "session": self._session(file)}

    def companions(self, file: Path) -> list[Path]:
        """Settings, machine and failures."""
        beside = file.parent / "machine.json"
        return [beside] if file.name == "bench.json" and beside.exists() else []

    def _session(self, file: Path) -> dict[str, Any]:
        for beside in self.companions(file):
            try:
                document = json.loads(beside.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise NotEvidence("corrupt", f"{beside.name} beside it cannot be read: {error}") from error
            if isinstance(document, dict) and isinstance(document.get("machine"), dict):
                return document
            raise NotEvidence("corrupt", f"{beside.name} beside it has no machine")
        return {}

    def lacks(self, document: Document) -> list[str]:
        """Failed or unmeasured scenarios."""
        names = [one.get_name() for one in document["suite"].get_benchmarks()]
        count = sum(name != "control" for name in names)
        failed = document["session"].get("failed") or {}
        found = [f"{name} failed: {why}" for name, why in failed.items()]
        return found + ([f"{count} of {NUM_SCENARIOS} scenarios"] if count < NUM_SCENARIOS else [])

    def provenance(self, document: Document) -> Provenance:
        """From machine.json, else from the metadata inside."""
        session, facts = document["session"], document["facts"]
        machine = session.get("machine") or {
            "cpu_model": facts.get("hpt_cpu_model"),
            "num_cores": facts.get("hpt_num_cores"),
            "threads": facts.get("hpt_threads"),
            "python": facts.get("hpt_python"),
            "torch": facts.get("hpt_torch"),
            "numpy": facts.get("hpt_numpy"),
            "commit": facts.get("hpt_commit"),
            "is_dirty": None if facts.get("hpt_is_dirty") is None else bool(facts["hpt_is_dirty"]),
        }
        ends = [last for one in document["suite"].get_benchmarks() if (last := one.get_dates()) is not None]
        moment = max(end for _, end in ends).isoformat(timespec="seconds") if ends else self._moment(session)
        preset = facts.get("hpt_preset", "default")
        threads = facts.get("hpt_threads", 1)
        mode = {"fast": " --fast", "rigorous": " --rigorous"}.get(str(facts.get("hpt_mode")), "")
        command = f"hpt bench all{mode} --preset {preset} --threads {threads} --out runs/bench-{preset}"
        return provenance_of(machine, moment, command)


class Memory(Kind):
    """Validation of memory."""

    name = "memory"
    title = "memory validation"
    command = "hpt validate-vram --model gpt2 --out runs/vram"
    parts = (*TRAINER_PARTS, "validate")

    def is_in(self, document: Document) -> bool:
        """Arms and checks."""
        return "arms" in document and "checks" in document

    def lacks(self, document: Document) -> list[str]:
        """Arms or drills that did not run to their end."""
        arms, drills = ({one.get("name"): one for one in _rows(document.get(key))} for key in ("arms", "drills"))
        broken = [str(name) for name, one in (arms | drills).items() if one.get("status") not in (None, "done")]
        return [f"did not finish: {', '.join(broken)}"] if broken else []

    def provenance(self, document: Document) -> Provenance:
        """As stored; the command is the run's own."""
        machine = document.get("machine") or document.get("environment")
        return provenance_of(machine, self._moment(document), own_command(document) or self.command)


class Comparison(Kind):
    """Comparison with a baseline, tuned or not."""

    name = "comparison"
    title = "comparison with a baseline"
    command = "hpt compare --budget standard --tune --out runs/compare"
    parts = (*TRAINER_PARTS, "compare")

    def is_in(self, document: Document) -> bool:
        """It says so."""
        return document.get("kind") == "comparison"

    def lacks(self, document: Document) -> list[str]:
        """Cells without a result."""
        if document.get("complete", False):
            return []
        failed = document.get("failed") or {}
        return [f"not every cell has a result ({len(failed)} failed)"]

    def provenance(self, document: Document) -> Provenance:
        """As stored; the command is the run's own."""
        return provenance_of(document.get("machine"), self._moment(document), own_command(document) or self.command)


class Profile(Kind):
    """Where a step's time goes."""

    name = "profile"
    title = "profile of a step"
    command = "hpt profile --workload byte-gpt --out runs/profile"
    parts = (*TRAINER_PARTS, "compare")

    def is_in(self, document: Document) -> bool:
        """It says so."""
        return document.get("kind") == "profile"

    def provenance(self, document: Document) -> Provenance:
        """As stored; the command is the run's own."""
        machine = document.get("machine") or document.get("environment")
        return provenance_of(machine, self._moment(document), own_command(document) or self.command)


class Training(Kind):
    """A run of the trainer."""

    name = "training"
    title = "training run"
    command = "hpt train --workload byte-gpt --steps 600 --out runs/first"

    def is_in(self, document: Document) -> bool:
        """What `hpt.run.folder` writes."""
        return {"status", "workload", "config", "settings"} <= set(document) and "arms" not in document

    def lacks(self, document: Document) -> list[str]:
        """Not run to its end."""
        return [] if document["status"] == "done" else [f"status {document['status']}"]

    def provenance(self, document: Document) -> Provenance:
        """The environment of the latest part."""
        return provenance_of(document.get("environment"), self._moment(document), own_command(document) or self.command)


class Release(Kind):
    """What must pass before a release."""

    name = "release"
    title = "release check"
    command = "hpt release-check"
    parts = ()

    def is_in(self, document: Document) -> bool:
        """It says so."""
        return document.get("kind") == "release-check"

    def lacks(self, document: Document) -> list[str]:
        """Steps that were left out."""
        left = [str(step["name"]) for step in document.get("steps", []) if step.get("status") == "not run"]
        return [f"not run: {', '.join(left)}"] if left else []


TIMING, MEMORY, COMPARISON, PROFILE = Timing(), Memory(), Comparison(), Profile()
TRAINING, RELEASE = Training(), Release()
KINDS: Sequence[Kind] = (TIMING, MEMORY, COMPARISON, PROFILE, TRAINING, PREDICTION, OVERHEAD, WALL, ALARMS, RELEASE)


def kind_of(document: Document) -> Kind:
    """What a document is.

    Raises:
        NotEvidence: nothing that hpt measured.
    """
    for kind in KINDS:
        if kind.is_in(document):
            return kind
    raise NotEvidence("foreign", "JSON, but no measurement of hpt")


def _rows(value: object) -> list[Mapping[str, Any]]:
    """Members of a list, or of a mapping by name, as mappings."""
    if isinstance(value, Mapping):
        return [{"name": name, **one} for name, one in value.items() if isinstance(one, Mapping)]
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
