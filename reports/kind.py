"""What a kind of stored measurement is: how it is recognised, what it must hold and lacks, and where it was made."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt.documents import fit
from hpt_reports.provenance import Provenance

TRAINER_PARTS = (
    *("config.py", "control", "history.py", "jump", "learned", "memory", "numerics", "predictors", "settings.py"),
    *("trainer", "workloads", "learned/prior.json"),
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
        is_of_results: it says what training comes to, and not how long that takes or in how much memory.
        workload: that every document of it is about; None where the document says so, or says nothing.
        companions: files beside it whose bytes count as its own.
        completed: the document with what lies beside it; raises DocumentError where that is damaged.
        lacks: what is unfinished, in words.
        made_by: the command that makes it, of a document that stores one.
    """

    name: str
    title: str
    command: str
    fields: frozenset[str]
    calls_itself: str | None = None
    schema: Any
    parts: tuple[str, ...] = TRAINER_PARTS
    is_of_results: bool = False
    workload: str | None = None
    companions: Callable[[Path], list[Path]] = lambda _: []
    completed: Completed = lambda _, document: document
    lacks: Callable[[Document], Iterable[str]] = lambda _: ()
    made_by: Callable[[Document], str] = lambda document: document["command"]

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
        command = self.made_by(document) if document.get("command") else self.command
        return Provenance(machine, moment_of(document) or "", command)


def moment_of(document: Document) -> str | None:
    """When it was made, as far as the document says."""
    return next((document[name] for name in MOMENTS if document.get(name)), None)
