"""A command's folder: documents replaced as a whole, and logs that only grow.

A document (run.json, machine.json, comparison.json) is always either the old or the new one. A log gets one line a
record, each handed to the operating system as it comes: a process that dies leaves at most one torn line, and whoever
goes on cuts the log back to what is kept, so that no line is missing and none is there twice. A lock keeps a second
process out while the first is alive. Nothing here imports torch.

    RunFolder    run.json, steps.jsonl, events.jsonl, checkpoints/ of `hpt train`
"""

import fcntl
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from hpt.documents import read_document
from hpt.errors import CheckpointError, DiskError, UsageError
from hpt.jsonfiles import cut_lines, disk_errors, make_folder, write_json
from hpt.records import Record, StepRecord, jsonable, to_json_line
from hpt.run.launch import resume_line
from hpt.run.ownership import claim
from hpt.run.record import RunRecord


@contextmanager
def locked(folder: Path, what: str, *marks: str) -> Generator[None]:
    """The folder, made if need be, for this process alone while it works there; see `claim`.

    Raises:
        UsageError: another process works there, it holds somebody else's files, or the place is taken by a file.
        DiskError: it cannot be written, or its file system has no locks.
    """
    claim(folder, what, *marks)
    make_folder(folder)
    with disk_errors(folder):
        file = (folder / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{folder} is in use by another process; wait for it or choose another --out") from error
        except OSError as error:
            raise DiskError(
                f"{folder} cannot be locked ({error.strerror or error}); mount its file system with locks (flock), "
                "or choose another --out"
            ) from error
        yield


class LineLog:
    """A file of one JSON object a line, which only grows.

    Args:
        path: of the file; its folder must exist.
        is_kept: of (index, line): the log is cut back to its longest head that this accepts.

    Raises:
        DiskError: it cannot be written.

    Attributes:
        num_kept: lines that were left of what was there.
    """

    def __init__(self, path: Path, is_kept: Callable[[int, Mapping[str, Any]], bool]) -> None:
        self._path = path
        with disk_errors(path), ExitStack() as undo:
            self._file = undo.enter_context(path.open("a", buffering=1, encoding="utf-8"))
            self.num_kept = cut_lines(path, is_kept)
            undo.pop_all()

    def append(self, line: str) -> None:
        """Add one object, written as JSON without a line break.

        Raises:
            DiskError: the disk is full.
        """
        with disk_errors(self._path):
            self._file.write(line + "\n")

    def close(self) -> None:
        """Close it, even if the disk refuses its last line.

        Raises:
            DiskError: the disk is full.
        """
        with disk_errors(self._path):
            self._file.close()


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

    def refuse_taken(self) -> None:
        """Refuse to begin a run where there is one, or something else.

        Raises:
            UsageError: the folder is not empty.
        """
        if self.run_file.exists():
            there = self.read()
            raise UsageError(
                f"{self.path} already holds a run ({there.status}); continue it with "
                f"{resume_line(there.environment, self.path)}, choose another --out, or delete that folder"
            )
        claim(self.path, "run", self.run_file.name)

    def read(self) -> RunRecord:
        """What `run.json` says.

        Raises:
            DocumentError: see `read_document`.
        """
        return read_document(self.run_file, RunRecord, remedy="restore it, or name the folder of a run")

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
        CheckpointError: `steps.jsonl` has fewer calls than that.
        DiskError: the files cannot be written.
    """

    def __init__(self, folder: RunFolder, call: int = 0) -> None:
        self.call = call
        with ExitStack() as undo:
            self._steps = LineLog(folder.steps_file, lambda index, _: index < call)
            undo.callback(self._steps.close)
            self._events = LineLog(folder.events_file, lambda _, line: int(line.get("in_call", 0)) <= call)
            undo.callback(self._events.close)
            if self._steps.num_kept < call:
                raise CheckpointError(
                    f"{folder.steps_file} has {self._steps.num_kept} whole lines, but the checkpoint was made after "
                    f"call {call}; restore that file, or begin a new run with another --out"
                )
            self._files = undo.pop_all()

    def __call__(self, record: Record) -> None:
        """Write one record.

        Raises:
            DiskError: the disk is full.
        """
        if isinstance(record, StepRecord):
            self._steps.append(to_json_line(record))
        else:
            values = {"kind": record.kind, "in_call": self.call + 1, **jsonable(asdict(record))}
            self._events.append(json.dumps(values, allow_nan=False))

    def end_call(self) -> None:
        """A call of the trainer returned."""
        self.call += 1

    def close(self) -> None:
        """Close both files, even if the disk refuses their last lines.

        Raises:
            DiskError: the disk is full.
        """
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
