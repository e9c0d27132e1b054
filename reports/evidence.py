"""What has been measured: every stored run under a folder, recognised by its content, with where and when it was made.

Nothing is taken on trust. A file that falls short of its schema, is of a newer one, or of something else is named and
left out; an unfinished run is named as well. What is left out never turns into a number.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hpt.documents import CORRUPT, FOREIGN, DocumentError, parse, read_bytes
from hpt_reports.kind import Kind
from hpt_reports.kinds import KINDS, kind_of
from hpt_reports.provenance import Provenance
from hpt_reports.search import candidates

DIGEST_LETTERS = 12
"""Of a file's SHA-256 as printed."""
PARTS_OF_RUNS = (frozenset({"cell", "result"}), frozenset({"schema_version", "tuned"}))
"""Fields of files of `hpt compare` that its summary is made from, wherever they lie: cells, outcomes of tuning."""
PARTIAL = "partial"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """One stored measurement.

    Attributes:
        kind: what was measured.
        label: short name, unique among the evidence, e.g. "timing-1".
        path: below the folder of runs, with forward slashes.
        address: the same as a link has it.
        file: where it is.
        document: its content.
        digest: head of the SHA-256 of all its files.
        provenance: machine, commit, day and command.
    """

    kind: Kind
    label: str
    path: str
    address: str
    file: Path
    document: Mapping[str, Any]
    digest: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Remark:
    """An input that is not (wholly) used: which, in what way it falls short, why, and its kind if that can be told."""

    path: str
    word: str
    reason: str
    kind: Kind | None = None

    def __str__(self) -> str:
        used = "used as far as it goes" if self.word == PARTIAL else "skipped"
        return f"{self.path}: {self.word}, {used} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found below one folder.

    Attributes:
        folder: of the runs.
        sources: usable measurements, by path.
        remarks: inputs that are left out or incomplete.
    """

    folder: Path
    sources: tuple[Source, ...]
    remarks: tuple[Remark, ...] = field(default=())

    def of(self, kind: Kind) -> list[Source]:
        """Measurements of one kind, the newest first."""
        found = [one for one in self.sources if one.kind is kind]
        return sorted(found, key=lambda one: (one.provenance.moment, one.path), reverse=True)

    def refused(self, kinds: Sequence[Kind]) -> list[Remark]:
        """Inputs of some kinds that are left out, those included that are too damaged to tell."""
        left_out = [one for one in self.remarks if one.word not in (PARTIAL, FOREIGN)]
        return [one for one in left_out if one.kind is None or one.kind in kinds]

    def newest(self, kind: Kind) -> Source | None:
        """The newest measurement of a kind; None if there is none."""
        return next(iter(self.of(kind)), None)


@dataclass(frozen=True, slots=True)
class _Found:
    kind: Kind
    file: Path
    path: str
    document: Mapping[str, Any]
    content: bytes


def gather(folder: Path) -> Evidence:
    """Read everything below a folder; a folder that is not there holds nothing."""
    remarks: list[Remark] = []
    found: list[_Found] = []

    def refuse(place: Path, reason: str) -> None:
        remarks.append(Remark(_below(folder, place), CORRUPT, reason))

    for file in candidates(folder, refuse) if folder.is_dir() else ():
        path, kind = _below(folder, file), None
        try:
            content = read_bytes(file)
            document = parse(content, file)
            if any(marks <= set(document) for marks in PARTS_OF_RUNS):
                continue
            kind = kind_of(document, file)
            found.append(_Found(kind, file, path, kind.read(file, content), content))
        except DocumentError as error:
            beside = "" if error.path == file else f"{error.path.name} beside it: "
            remarks.append(Remark(path, error.word, f"{beside}{error.reason}", kind))
    kept = _once(found)
    remarks += [Remark(one.path, PARTIAL, lack, one.kind) for one in kept for lack in one.kind.lacks(one.document)]
    return Evidence(folder, tuple(_labelled(folder, kept)), tuple(sorted(remarks, key=lambda one: one.path)))


def address_of(path: Path) -> str:
    """A relative path as a link has it."""
    return quote(os.fsencode(path.as_posix()))


def _below(folder: Path, place: Path) -> str:
    """A path as people read it; letters that no text can hold are spelled as bytes."""
    return place.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()


def _once(found: list[_Found]) -> list[_Found]:
    """Each measurement once: of equal files (a kept baseline, a copy) the one with most beside it, then the first."""
    best: dict[bytes, _Found] = {}
    for one in found:
        other = best.get(one.content)
        if other is None or len(one.kind.companions(one.file)) > len(other.kind.companions(other.file)):
            best[one.content] = one
    return [one for one in found if best[one.content] is one]


def _labelled(folder: Path, found: list[_Found]) -> Iterator[Source]:
    counts = dict.fromkeys(KINDS, 0)
    for one in found:
        counts[one.kind] += 1
        yield Source(
            kind=one.kind,
            label=f"{one.kind.name}-{counts[one.kind]}",
            path=one.path,
            address=address_of(one.file.relative_to(folder)),
            file=one.file,
            document=one.document,
            digest=digest_of([one.file, *one.kind.companions(one.file)]),
            provenance=one.kind.provenance(one.document),
        )


def digest_of(files: list[Path]) -> str:
    """Head of the SHA-256 over the bytes of some files, in that order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:DIGEST_LETTERS]
