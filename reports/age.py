"""Was it measured on the sources that are here? By stored digests, else by git, else unknown.

Only the parts of the package that a kind of measurement exercises count: a changed help text makes no benchmark old.
What tells results, and not time or memory, is as good as new where code before and after a change was shown to train to
the same results, to the last bit. A comparison, whose cells may be of several sources, is judged run by run: where some
runs ended differently, the others are as good as new.
"""

import inspect
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt.machine import has_gpu, source_digests, utc_now
from hpt_reports.evidence import Evidence, Source
from hpt_reports.kinds import COMPARISON, SAME_RESULTS

Digests = Mapping[str, str]
GIT_TIMEOUT_S = 10.0
PACKAGE = Path(inspect.getfile(utc_now)).parent
"""Folder of the package `hpt`, which itself is not imported: it offers the trainer, and with it torch."""


@dataclass(frozen=True, slots=True)
class Aged:
    """A measurement of other sources: which parts, or why it cannot be told.

    Attributes:
        path: of the measurement.
        is_known: that it was made on other sources, and not only possible.
        reason: in words.
        needs_gpu: it was made on a GPU, and this machine has none to make it again.
        same_by: the measurement by which these sources train to the same results, if that is all it tells; else "".
    """

    path: str
    is_known: bool
    reason: str
    needs_gpu: bool
    same_by: str

    @property
    def is_excused(self) -> bool:
        """It need not, or cannot, be made again here."""
        return self.needs_gpu or bool(self.same_by)

    def __str__(self) -> str:
        excuse = "; made on a GPU, which this machine has not" if self.needs_gpu else ""
        same = f"; they train to the same results ({self.same_by})" if self.same_by else ""
        return f"{self.path}: {self.reason}{excuse}{same}"


@dataclass(frozen=True, slots=True)
class _Code:
    """Sources of a measurement, and the workload and arm of what was measured on them; "" where it is not told."""

    sources: Digests
    runs: Sequence[tuple[str, str]]


def aged(evidence: Evidence) -> Iterator[Aged]:
    """Measurements that were made on other sources than the present ones, or may have been."""
    lacks_gpu = not has_gpu()
    for source in evidence.sources:
        found = _age(source) if source.kind.parts else None
        if found is not None:
            needs_gpu = lacks_gpu and source.provenance.is_of_gpu
            yield Aged(source.path, *found, needs_gpu=needs_gpu, same_by=_same_by(source, evidence))


def _same_by(source: Source, evidence: Evidence) -> str:
    """Path of what shows that the sources it was measured on and the present ones train to the same results, or ""."""
    if not source.kind.is_of_results:
        return ""
    shown = (one for one in evidence.of(SAME_RESULTS) if _shows(one, source))
    return next((one.path for one in shown), "")


def _shows(same: Source, source: Source) -> bool:
    """The present code was compared with all that a measurement was made on, and no run that concerns it differed."""
    parts, now = source.kind.parts, source_digests()
    is_present = not _other_parts(same.provenance.sources, now, parts)
    old = [one for one in _code(source) if _other_parts(one.sources, now, parts)]
    return is_present and all(_is_as_new(one, same.document, parts) for one in old)


def _is_as_new(code: _Code, same: Mapping[str, Any], parts: Sequence[str]) -> bool:
    rows = [row for row in same["earlier"] if not _other_parts(row["sources"], code.sources, parts)]
    return any(not any(_ended_differently(run, row["differing"], same["runs"]) for run in code.runs) for row in rows)


def _ended_differently(run: tuple[str, str], differing: Sequence[str], compared: Sequence[str]) -> bool:
    """Whether it did, or may have: an arm that was not compared did if any of its workload did, else if any run did."""
    workload, arm = run
    starts = (f"{workload}-{arm}-n" if arm else f"{workload}-", f"{workload}-", "")
    start = next(start for start in starts if any(one.startswith(start) for one in compared) or not start)
    return any(one.startswith(start) for one in differing)


def _code(source: Source) -> list[_Code]:
    """All sources of a measurement; none is told where it stored no digests."""
    rows = source.document.get("code") if source.kind is COMPARISON else None
    if rows:
        named = [[(one, arm) for one, arms in row["runs"].items() for arm in arms] for row in rows]
        return [_Code(row["sources"], runs) for row, runs in zip(rows, named, strict=True)]
    workloads = source.document.get("workloads")
    named = [(one, "") for one in workloads] if isinstance(workloads, dict) else [(source.kind.workload or "", "")]
    return [_Code(source.provenance.sources, named)] if source.provenance.sources else []


def _other_parts(one: Digests, other: Digests, parts: Sequence[str]) -> list[str]:
    """Parts of which two digests differ; without one of a data file, as earlier measurements are, nothing is told."""
    untold = {part for part in parts if part.endswith(".json") and not (part in one and part in other)}
    return [part for part in parts if one.get(part) != other.get(part) and part not in untold]


def _age(source: Source) -> tuple[bool, str] | None:
    """Whether it is known that the sources are others, and in what; None where they are the same."""
    parts, made_on, code = source.kind.parts, source.provenance, _code(source)
    if code:
        now = source_digests()
        found = {part for one in code for part in _other_parts(one.sources, now, parts)}
        changed = [part for part in parts if part in found]
        return (True, f"measured on other sources of {', '.join(changed)}") if changed else None
    known = _changed_in_git(source, parts)
    if known is None:
        return False, f"cannot be told: {made_on.code}, and no digests are stored"
    return (True, f"measured on commit {made_on.code}; since changed: {', '.join(known)}") if known else None


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
