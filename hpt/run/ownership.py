"""Whose the files of a folder are: nothing is overwritten or removed that this program did not write.

    claim            a command's folder: new, empty, or marked by a record of that command
    refuse_foreign   a single document: not there yet, or of the same kind
    Manifest         a folder of many files: the names that were written, in a list kept beside them
    fresh_folder     a folder that nobody has, for results without a name
    check_writable   a place where nothing can be written is found before anything is measured

Files whose names begin with a dot do not count as somebody's work. Nothing here imports torch.
"""

import itertools
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, cast

from hpt.errors import UsageError
from hpt.jsonfiles import disk_errors, make_folder, write_json

MANIFEST = ".hpt-files.json"
SCHEMA_VERSION = 1
_NAMED = 3  # foreign files that a refusal names


def claim(folder: Path, what: str, *marks: str) -> None:
    """Refuse a folder that holds files of somebody else's.

    Args:
        folder: need not exist.
        what: would be kept there, in one word: "run", "comparison".
        marks: names of the records by which this command's folders are known.

    Raises:
        UsageError: it is not empty, and has none of the records.
        DiskError: it cannot be read.
    """
    if not folder.is_dir() or any((folder / mark).exists() for mark in marks):
        return
    with disk_errors(folder):
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if there:
        more = ", ..." if len(there) > _NAMED else ""
        raise UsageError(
            f"{folder} holds {', '.join(there[:_NAMED])}{more}, but no {what} ({' or '.join(marks)} is not there); "
            "nothing of yours is overwritten: choose another --out, or an empty folder"
        )


def refuse_foreign(path: Path, kind: str) -> None:
    """Refuse to replace a file that is no document of this kind.

    Raises:
        UsageError: it is something else.
    """
    if not path.exists():
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict) or cast("dict[str, Any]", document).get("kind") != kind:
        raise UsageError(f"{path} is there already and is no {kind} of hpt; choose another --out, or move that file")


def check_writable(folder: Path) -> None:
    """Make the folder if need be, and try to write there.

    Raises:
        UsageError: the place is taken by a file.
        DiskError: it cannot be written.
    """
    make_folder(folder)
    with disk_errors(folder), tempfile.TemporaryFile(dir=folder):
        pass


def fresh_folder(wanted: Path) -> Path:
    """Make a folder of that name, or with -2, -3, ... behind it, that nobody else has.

    Raises:
        UsageError: the place above it is taken by a file.
        DiskError: it cannot be made.
    """
    make_folder(wanted.parent)
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with disk_errors(path):
            try:
                path.mkdir()
            except FileExistsError:
                continue
        return path
    raise AssertionError("there is always another number")


class Manifest:
    """The files that were written into a folder, by their names relative to it.

    Links are never followed: a file behind a link was not written here.

    Args:
        folder: need not exist.
        what: is kept there, in one word: "report".

    Raises:
        UsageError: the folder holds files and no list, or the list is damaged.
        DiskError: it cannot be read.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder = folder
        self._file = folder / MANIFEST
        claim(folder, what, MANIFEST)
        self.names = _names_in(self._file)

    def add(self, names: Iterable[str]) -> None:
        """Put names on the list before their files are written, and make the folders for them.

        Raises:
            UsageError: a file of somebody else's has such a name, or it lies behind a link.
            DiskError: the list cannot be written.
        """
        wanted = set(names)
        for name in sorted(wanted):
            link = self._link_on_the_way(name)
            if link is not None:
                raise UsageError(f"{link} is a link, and hpt writes through none inside its folder; remove it")
            if name not in self.names and (self.folder / name).exists():
                raise UsageError(f"{self.folder / name} was not written by hpt; move it, or choose another --out")
        for name in wanted:
            make_folder((self.folder / name).parent)
        self._store(self.names | wanted)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove the other files on the list, and take them off it; what became a link is left alone.

        Raises:
            DiskError: a file cannot be removed.
        """
        kept = self.names & set(names)
        for name in self.names - kept:
            if self._link_on_the_way(name) is None:
                with disk_errors(self.folder / name):
                    (self.folder / name).unlink(missing_ok=True)
        self._store(kept)

    def _link_on_the_way(self, name: str) -> Path | None:
        """The first link on the way from the folder to the file, the file included."""
        parts = PurePosixPath(name).parts
        ways = (self.folder.joinpath(*parts[: count + 1]) for count in range(len(parts)))
        return next((way for way in ways if way.is_symlink()), None)

    def _store(self, names: set[str]) -> None:
        self.names = names
        write_json(self._file, {"schema_version": SCHEMA_VERSION, "files": sorted(names)})


def _names_in(file: Path) -> set[str]:
    """The list, empty where there is none.

    Raises:
        UsageError: it is damaged, of another schema, or names a file elsewhere.
    """
    if not file.exists():
        return set()
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        names = {str(name) for name in document["files"]} if document["schema_version"] == SCHEMA_VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        names = None
    if names is None or any(_leads_out(name) for name in names):
        raise UsageError(f"{file} is no list of files that this hpt wrote; restore it, or choose another --out")
    return names


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts
