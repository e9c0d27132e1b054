"""A run's folder: run.json, steps.jsonl, events.jsonl and checkpoints/, written so that a kill loses nothing.

`run.json` is replaced as a whole (temporary file in the same folder, fsync, rename), so it is always either
the old or the new one. The two logs get one line a record, each handed to the operating system as it comes;
a process that dies can leave at most one torn line, and a resumed run cuts both logs back to the call of
its checkpoint, so that no line is missing and none is there twice. A file lock on `steps.jsonl` keeps a
second process out while the first is alive.
"""

import fcntl
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Self

from hpt.errors import CheckpointError, UsageError
from hpt.jsonfiles import cut_lines, disk_errors, make_folder, write_json
from hpt.records import Record, StepRecord, jsonable, to_json_line

RUN_SCHEMA_VERSION = 1
RUNNING, DONE, INTERRUPTED, FAILED = "running", "done", "interrupted", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """All that is known about a run; what is not known (yet) is None.

    Attributes:
        status: running, done, interrupted or failed; after a kill it stays running.
        command: the command line that began the run.
        settings: what that command line resolved to.
        config: every setting of the trainer.
        workload: name, chance_loss and the workload's own facts.
        seed: seed of weights, batches and the trainer.
        environment: versions and machine, of the latest part of the run.
        started_at: UTC, ISO 8601; `finished_at` likewise.
        num_resumes: how often the run was taken up again.
        message: why it failed.
        num_updates: net optimizer updates; `num_calls` batches consumed.
        phases: calls by phase.
        counters: work and jumps, see `hpt.trainer`.
        seconds: by phase and by part.
        wall_s: seconds inside the trainer, all parts of the run together.
        final_loss: mean loss on the fixed validation set.
        confidence: how well the confidence was calibrated.
        predictor: what the predictor learned.
    """

    status: str
    command: list[str]
    settings: dict[str, Any]
    config: dict[str, Any]
    workload: dict[str, Any]
    seed: int
    environment: dict[str, Any]
    started_at: str
    finished_at: str | None = None
    num_resumes: int = 0
    message: str | None = None
    num_updates: int | None = None
    num_calls: int | None = None
    phases: dict[str, Any] | None = None
    counters: dict[str, Any] | None = None
    seconds: dict[str, Any] | None = None
    wall_s: float | None = None
    final_loss: float | None = None
    confidence: dict[str, Any] | None = None
    predictor: dict[str, Any] | None = None
    schema_version: int = RUN_SCHEMA_VERSION

    def to_document(self) -> dict[str, Any]:
        """Strict JSON values; non-finite floats as strings."""
        return jsonable(asdict(self))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of `to_document`.

        Raises:
            UsageError: the document is of a newer schema or lacks a field.
        """
        version = document.get("schema_version")
        if version != RUN_SCHEMA_VERSION:
            raise UsageError(
                f"run.json has schema_version {version!r}, this hpt reads {RUN_SCHEMA_VERSION}; "
                "use the hpt that wrote it"
            )
        known = {item.name for item in fields(cls)}
        try:
            return cls(**{key: value for key, value in document.items() if key in known})
        except TypeError as error:
            raise UsageError(f"run.json is not complete ({error}); restore it or start anew") from error


class RunFolder:
    """The files of one run.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_file = path / "run.json"
        self.steps_file = path / "steps.jsonl"
        self.events_file = path / "events.jsonl"
        self.checkpoints = path / "checkpoints"

    def has_run(self) -> bool:
        """A run began here."""
        return self.run_file.exists()

    def make(self) -> None:
        """Create the folder.

        Raises:
            UsageError: the place is taken by a file.
            DiskError: it cannot be written.
        """
        make_folder(self.path)

    def read(self) -> RunRecord:
        """What `run.json` says.

        Raises:
            UsageError: there is none, it is unreadable, or of another schema.
        """
        try:
            document = json.loads(self.run_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"{self.path} holds no run ({self.run_file.name}: {error.strerror}); name the folder of a run"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{self.run_file} is not JSON ({error}); restore it or begin a new run with another --out"
            ) from error
        return RunRecord.from_document(document)

    def write(self, record: RunRecord) -> None:
        """Replace `run.json`.

        Raises:
            DiskError: the disk is full, or the place cannot be written.
        """
        write_json(self.run_file, record.to_document())


class RunLog:
    """The sink that writes a run's records: steps to one file, everything else to the other.

    `call` counts the finished calls of the trainer; the loop says when one ended, so that each event knows
    its call (`in_call`, from 1) even where the record itself has none.

    Args:
        folder: where; it must exist.
        call: calls that lie before this part of the run. Both logs are cut back to them.

    Raises:
        UsageError: another process writes to this folder.
        CheckpointError: `steps.jsonl` has fewer calls than that.
        DiskError: the files cannot be written.
    """

    def __init__(self, folder: RunFolder, call: int = 0) -> None:
        self.call = call
        self._folder = folder
        with disk_errors(folder.path):
            self._steps = folder.steps_file.open("a", buffering=1, encoding="utf-8")
        try:
            self._lock()
            self._cut()
            with disk_errors(folder.path):
                self._events = folder.events_file.open("a", buffering=1, encoding="utf-8")
        except BaseException:
            self._steps.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._steps, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{self._folder.path} is in use by another process; wait for it or choose another --out"
            ) from error

    def _cut(self) -> None:
        with disk_errors(self._folder.path):
            count = cut_lines(self._folder.steps_file, lambda index, _: index < self.call)
            cut_lines(self._folder.events_file, lambda _, line: int(line.get("in_call", 0)) <= self.call)
        if count < self.call:
            raise CheckpointError(
                f"{self._folder.steps_file} has {count} whole lines, but the checkpoint was made after call "
                f"{self.call}; restore that file, or begin a new run with another --out"
            )

    def __call__(self, record: Record) -> None:
        """Write one record.

        Raises:
            DiskError: the disk is full.
        """
        if isinstance(record, StepRecord):
            self._append(self._steps, to_json_line(record))
        else:
            values = {"kind": record.kind, "in_call": self.call + 1, **jsonable(asdict(record))}
            self._append(self._events, json.dumps(values, allow_nan=False))

    def _append(self, file: TextIOWrapper, line: str) -> None:
        with disk_errors(self._folder.path):
            file.write(line + "\n")

    def end_call(self) -> None:
        """A call of the trainer returned."""
        self.call += 1

    def close(self) -> None:
        """Close both files and give up the lock, even if the disk refuses their last lines.

        Raises:
            DiskError: the disk is full.
        """
        with disk_errors(self._folder.path), ExitStack() as files:
            files.callback(self._steps.close)
            files.callback(self._events.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
