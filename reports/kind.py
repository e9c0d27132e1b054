"""What a kind of stored measurement can tell of itself, and how a file is refused."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.provenance import Provenance, provenance_of

Document = Mapping[str, Any]

TRAINER_PARTS = (
    *("config.py", "control", "learned", "settings.py", "memory", "numerics", "predictors", "trainer", "workloads"),
)
"""Parts of the package `hpt` that any run of the trainer exercises."""


class NotEvidence(Exception):
    """A file that is left out: `word` is corrupt, foreign or newer."""

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(reason)
        self.word = word


class Kind(ABC):
    """One kind of measurement.

    Attributes:
        name: in labels.
        title: in tables.
        command: makes such a measurement.
        schema: newest version known.
        parts: of the package `hpt` that were measured: a change in them makes the measurement old.
    """

    name = ""
    title = ""
    command = ""
    schema = 1
    parts: tuple[str, ...] = TRAINER_PARTS

    @abstractmethod
    def is_in(self, document: Document) -> bool:
        """The document is of this kind."""

    def complete(self, file: Path, document: Document) -> dict[str, Any]:
        """The document with what lies beside it.

        Raises:
            NotEvidence: it is damaged or of a newer schema.
        """
        del file
        version = document.get("schema_version")
        if not isinstance(version, int) or version > self.schema:
            raise NotEvidence("newer", f"schema_version {version!r}, this hpt reads up to {self.schema}")
        return dict(document)

    def companions(self, file: Path) -> list[Path]:
        """Files that belong to it."""
        del file
        return []

    def lacks(self, document: Document) -> list[str]:
        """What is unfinished, in words."""
        del document
        return []

    def provenance(self, document: Document) -> Provenance:
        """Machine, commit, day, command."""
        machine = document.get("machine")
        return provenance_of(machine if isinstance(machine, dict) else None, self._moment(document), self.command)

    def _moment(self, document: Document) -> str | None:
        for name in ("finished_at", "written_at", "measured_at", "started_at"):
            if isinstance(document.get(name), str):
                return document[name]
        return None


def own_command(document: Document) -> str | None:
    """The command line that a document says it was made by."""
    command = document.get("command")
    if isinstance(command, list):
        return " ".join(str(word) for word in command)
    return command if isinstance(command, str) else None
