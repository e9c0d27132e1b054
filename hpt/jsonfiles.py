"""JSON files that survive a crash: one document replaced as a whole, or one object a line, appended.

A document is written to a temporary file in the same folder, synced and renamed, so its name always holds the
old or the new one. Machines may share the folder: a temporary file is named after host and process, and removed by
nobody but the process that made it, when writing fails; what a killed one left is hidden and in nobody's way. Lines
are cut back to a whole head after a process died in the middle of one.
"""

import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpt.errors import DiskError, UsageError

HOST_LETTERS = 32


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Turn the operating system's refusals around a file into one line that says what to do.

    Raises:
        DiskError: the disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path} cannot be written ({error.strerror or error}); free some space or choose another folder"
        ) from error


def make_folder(path: Path) -> None:
    """Create the folder of `--out`, with the ones above it.

    Raises:
        UsageError: the place is taken by a file.
        DiskError: it cannot be written.
    """
    taken = next((one for one in (path, *path.parents) if one.exists() and not one.is_dir()), None)
    if taken is not None:
        raise UsageError(f"--out is {path}, but {taken} is a file; choose a folder")
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file as a whole; it survives a power failure in the old or the new state.

    Raises:
        DiskError: the disk is full, or the place cannot be written.
    """
    write_text(path, json.dumps(document, indent=2, allow_nan=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """The same for any text.

    Raises:
        DiskError: the disk is full, or the place cannot be written.
    """
    with disk_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{owner()}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp makes it readable by its owner alone
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync(path.parent)


def owner() -> str:
    """Host and process, as part of a file name."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", platform.node())[:HOST_LETTERS]
    return f"{host or 'host'}.{os.getpid()}"


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cut_lines(path: Path, is_kept: Callable[[int, Mapping[str, Any]], bool]) -> int:
    """Shorten a JSON-lines file to its longest head of whole lines that `is_kept(index, line)` accepts.

    Returns the number of lines kept; a file that is not there has none.
    """
    if not path.exists():
        return 0
    count = end = 0
    with path.open("rb+") as file:
        for line in file:
            values = _whole_line(line)
            if values is None or not is_kept(count, values):
                break
            count, end = count + 1, end + len(line)
        file.truncate(end)
    return count


def _whole_line(line: bytes) -> Mapping[str, Any] | None:
    try:
        values = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None  # pyright: ignore[reportUnknownVariableType]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file in order; a torn last line is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            values = _whole_line(line)
            if values is None:
                return
            yield dict(values)
