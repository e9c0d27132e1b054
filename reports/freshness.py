"""Was the evidence measured on the sources that are here? By stored digests, else by git, else unknown.

Only the parts of the package that a kind of measurement exercises count: a changed help text makes no benchmark old.
"""

import inspect
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpt.machine import source_digests, utc_now
from reports.evidence import Evidence, Source

GIT_TIMEOUT_S = 10.0
PACKAGE = Path(inspect.getfile(utc_now)).parent
"""Folder of the package `hpt`, which itself is not imported: it offers the trainer, and with it torch."""


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
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(PACKAGE),
        "diff",
        "--name-only",
        "--relative",
        commit,
        "--",
        *parts,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return sorted({line.partition("/")[0] for line in done.stdout.splitlines() if line})
