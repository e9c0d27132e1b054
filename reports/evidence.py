"""What has been measured: every stored run under a folder, recognised by its content, with where and when it was made.

Nothing is taken on trust. A file that is not JSON, of a newer schema, or of something else is named and left out; an
unfinished run is named as well. What is left out never turns into a number.

Was it measured on the sources that are here? By stored digests, else by git, else unknown. Only the parts of the
package that a kind of measurement exercises count: a changed help text makes no benchmark old.
"""

import hashlib
import inspect
import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpt.machine import source_digests, utc_now
from reports.kinds import KINDS, SIDECARS, Kind, NotEvidence, kind_of
from reports.provenance import Provenance

DIGEST_LETTERS = 12
"""Of a file's SHA-256 as printed."""
BORING_FOLDERS = frozenset({"checkpoints", "scenarios", "errors", "cells", "recipes", "drills", "tuning", "baselines"})
"""Parts of a run's folder that hold no result of their own."""
GIT_TIMEOUT_S = 10.0
PACKAGE = Path(inspect.getfile(utc_now)).parent
"""Folder of the package `hpt`, which itself is not imported: it offers the trainer, and with it torch."""
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
CORRUPT, FOREIGN, NEWER, PARTIAL = "corrupt", "foreign", "newer", "partial"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """One stored measurement.

    Attributes:
        kind: what was measured.
        label: short name, unique among the evidence, e.g. "timing-1".
        path: below the folder of runs, with forward slashes.
        file: where it is.
        document: its content.
        digest: head of the SHA-256 of all its files.
        provenance: machine, commit, day and command.
    """

    kind: Kind
    label: str
    path: str
    file: Path
    document: Mapping[str, Any]
    digest: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Remark:
    """An input that is not (wholly) used: which, in what way it falls short, and why."""

    path: str
    word: str
    reason: str

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

    def newest(self, kind: Kind) -> Source | None:
        """The newest measurement of a kind; None if there is none."""
        return next(iter(self.of(kind)), None)


def gather(folder: Path) -> Evidence:
    """Read everything below a folder; a folder that is not there holds nothing."""
    remarks: list[Remark] = []
    found: list[tuple[Kind, Path, dict[str, Any], Provenance]] = []
    for file in _candidates(folder):
        path = file.relative_to(folder).as_posix()
        try:
            document = _read(file)
            kind = kind_of(document)
            document = kind.complete(file, document)
            provenance = kind.provenance(document)
            remarks += [Remark(path, PARTIAL, lack) for lack in kind.lacks(document)]
        except NotEvidence as error:
            remarks.append(Remark(path, error.word, str(error)))
            continue
        found.append((kind, file, document, provenance))
    return Evidence(folder, tuple(_labelled(folder, found)), tuple(remarks))


def _candidates(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*.json")):
        *folders, name = file.relative_to(folder).parts
        is_hidden = any(part.startswith(".") for part in (*folders, name))
        if not is_hidden and BORING_FOLDERS.isdisjoint(folders) and not name.endswith(SIDECARS):
            yield file


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotEvidence(CORRUPT, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise NotEvidence(CORRUPT, f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise NotEvidence(FOREIGN, "JSON, but not an object")
    return _numbers(document)


def _numbers(value: Any) -> Any:
    """With non-finite numbers as such, which strict JSON has to spell out."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _labelled(folder: Path, found: list[tuple[Kind, Path, dict[str, Any], Provenance]]) -> Iterator[Source]:
    counts = dict.fromkeys(KINDS, 0)
    for kind, file, document, provenance in found:
        counts[kind] += 1
        yield Source(
            kind=kind,
            label=f"{kind.name}-{counts[kind]}",
            path=file.relative_to(folder).as_posix(),
            file=file,
            document=document,
            digest=digest_of([file, *kind.companions(file)]),
            provenance=provenance,
        )


def digest_of(files: list[Path]) -> str:
    """Head of the SHA-256 over the bytes of some files, in that order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:DIGEST_LETTERS]


@dataclass(frozen=True, slots=True)
class Aged:
    """A measurement of other sources: which parts, or why it cannot be told."""

    path: str
    is_known: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def aged(evidence: Evidence) -> Iterator[Aged]:
    """Measurements that were made on other sources than the present ones, or may have been."""
    for source in evidence.sources:
        parts = source.kind.parts
        if not parts:
            continue
        if source.provenance.sources:
            changed = _changed_since(source, parts)
            if changed:
                yield Aged(source.path, True, f"measured on other sources of {', '.join(changed)}")
            continue
        known = _changed_in_git(source, parts)
        if known is None:
            yield Aged(source.path, False, f"cannot be told: {source.provenance.code}, and no digests are stored")
        elif known:
            yield Aged(
                source.path, True, f"measured on commit {source.provenance.code}; since changed: {', '.join(known)}"
            )


def _changed_since(source: Source, parts: Sequence[str]) -> list[str]:
    now, then = source_digests(), source.provenance.sources
    return [part for part in parts if now.get(part) != then.get(part)]


def _changed_in_git(source: Source, parts: Sequence[str]) -> list[str] | None:
    """Parts that differ from the commit of the measurement; None where git cannot tell."""
    commit = source.provenance.commit
    if commit is None or source.provenance.is_dirty is not False:
        return None
    git = ["git", "--no-optional-locks", "-C", str(PACKAGE)]
    command = [*git, "diff", "--name-only", "--relative", commit, "--", *parts]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return sorted({line.partition("/")[0] for line in done.stdout.splitlines() if line})
