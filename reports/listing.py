"""The stored runs below a folder as a list: kind, day, size, verdict in a few words, and the command that shows each.

What is read is what the reports read (`hpt_reports.evidence`), so nothing is listed here that they would refuse.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_reports import kinds
from hpt_reports.evidence import FOREIGN, Evidence, Source
from hpt_reports.formatting import bounded
from hpt_reports.kind import Document, Kind

OUT = "out/reports"
WHOLE_FOLDERS = frozenset({"bench.json", "run.json", "summary.json", "overhead.json", "profile.json"})
"""Names of files that stand for the folder which they lie in, where that holds no other run."""
REQUEST, RESULT = "comparison.json", "summary.json"
"""Of a comparison: what was asked for, and what was found once it ended."""
NOT_FINISHED, UNREADABLE = "not finished", "cannot be read"
REPORTS: Mapping[Kind, str] = {
    kinds.TIMING: "phase2",
    kinds.MEMORY: "vram",
    kinds.ESTIMATES: "vram",
    kinds.COMPARISON: "evaluation",
    kinds.TRAINING: "evaluation",
    kinds.STOPPING: "evaluation",
    kinds.POLICIES: "evaluation",
    kinds.VALUE_MODELS: "evaluation",
    kinds.LARGE: "evaluation",
    kinds.ATTACHED: "evaluation",
    kinds.PROFILE: "phase2",
    kinds.OVERHEAD: "phase2",
    kinds.ALARMS: "phase2",
    kinds.SURVIVAL: "survival",
    kinds.SAME_RESULTS: "phase3",
    kinds.RELEASE: "phase3",
}
"""The report whose page shows a kind of measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A row of the list.

    Attributes:
        path: of its folder, or of its file where it has none to itself.
        kind: in words; None of a file that cannot be read.
        day: YYYY-MM-DD, UTC; None where the file does not say.
        size_bytes: of all its files.
        verdict: what came of it, in a few words.
        command: shows it, or goes on with it; None where neither can be done.
    """

    path: str
    kind: str | None
    day: str | None
    size_bytes: int
    verdict: str
    command: str | None


def stored_runs(evidence: Evidence) -> list[StoredRun]:
    """Every run, the newest first, then what cannot be read."""
    found = sorted(evidence.sources, key=lambda one: (one.provenance.moment, one.path), reverse=True)
    rows = [_row(one, _place(one, evidence)) for one in found]
    return [*rows, *_begun_comparisons(evidence.folder), *_unreadable(evidence)]


def _place(source: Source, evidence: Evidence) -> Path:
    folder = source.file.parent
    is_alone = not any(folder in one.file.parents for one in evidence.sources if one is not source)
    return folder if source.file.name in WHOLE_FOLDERS and is_alone else source.file


def _row(source: Source, place: Path) -> StoredRun:
    is_open = _is_unfinished(source)
    return StoredRun(
        path=str(place),
        kind=source.kind.title,
        day=source.provenance.moment[:10] or None,
        size_bytes=_size_bytes(place),
        verdict=f"{NOT_FINISHED}{_so_far(source)}" if is_open else VERDICTS[source.kind](source.document),
        command=_going_on(source) if is_open else _report(source.kind, place),
    )


def _is_unfinished(source: Source) -> bool:
    """Of the kinds that go on where they were stopped: did this one stop before its end?"""
    document = source.document
    if source.kind is kinds.TRAINING:
        return document["status"] != "done"
    if source.kind is kinds.COMPARISON:
        return not document["complete"]
    return source.kind is kinds.MEMORY and not document["checks"]


def _so_far(source: Source) -> str:
    if source.kind is kinds.TRAINING:
        return f" ({source.document['status']})"
    return ""


def _going_on(source: Source) -> str:
    folder = source.file.parent
    if source.kind is kinds.TRAINING:
        return shlex.join(["hpt", "train", "--resume", str(folder)])
    if source.kind is kinds.COMPARISON:
        return _resumed_comparison(folder)
    command: str | list[str] = source.document.get("command") or source.kind.command
    return command if isinstance(command, str) else shlex.join(command)


def _resumed_comparison(folder: Path) -> str:
    return shlex.join(["hpt", "compare", "--resume", "--out", str(folder)])


def _report(kind: Kind, place: Path) -> str:
    folder = place if place.is_dir() else place.parent
    return shlex.join(["hpt", "report", REPORTS[kind], "--runs", str(folder), "--out", OUT])


def _begun_comparisons(folder: Path) -> Iterator[StoredRun]:
    """Comparisons that have cells and no summary yet."""
    for file in sorted(folder.rglob(REQUEST)):
        if not (file.parent / RESULT).exists():
            yield StoredRun(
                path=str(file.parent),
                kind=kinds.COMPARISON.title,
                day=None,
                size_bytes=_size_bytes(file.parent),
                verdict=NOT_FINISHED,
                command=_resumed_comparison(file.parent),
            )


def _unreadable(evidence: Evidence) -> Iterator[StoredRun]:
    """Runs that are damaged, or of a newer version; files that are no runs are left out."""
    for one in evidence.refused(kinds.KINDS):
        if one.word != FOREIGN:
            place = evidence.folder / one.path
            yield StoredRun(
                path=str(place),
                kind=None if one.kind is None else one.kind.title,
                day=None,
                size_bytes=_size_bytes(place),
                verdict=f"{UNREADABLE}: {one.reason}",
                command=None,
            )


def _size_bytes(place: Path) -> int:
    """Of a file, or of all files below a folder; what is gone meanwhile counts as nothing."""
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(one.lstat().st_size for one in files if one.is_file())


def _timing(document: Document) -> str:
    names = [one.get_name() for one in document["suite"].get_benchmarks()]
    failed = document["session"].get("failed") or {}
    return f"{sum(name != 'control' for name in names)} scenarios" + (f", {len(failed)} failed" if failed else "")


def _memory(document: Document) -> str:
    words = {str(one["verdict"]) for one in document["checks"]}
    return next((word for word in ("failed", "inconclusive") if word in words), "passed")


def _comparison(document: Document) -> str:
    """Of the hybrid, else of the first arm that was measured on every workload."""
    arms: Mapping[str, Any] = document["overall"]
    name = "hybrid" if "hybrid" in arms else next(iter(arms), None)
    if name is None:
        return "no ratio measured"
    return f"{name}: {arms[name]['judgement']['verdict']}, work ratio {bounded(arms[name]['work_ratio'])}"


def _training(document: Document) -> str:
    loss = document.get("final_loss")
    return (
        f"{document['workload']['name']}, loss not measured"
        if loss is None
        else (f"{document['workload']['name']}, {document['settings']['steps']} updates, loss {loss:.4f}")
    )


def _profile(document: Document) -> str:
    share = document["parts"]["jump_cost_ratio"]
    return "no jump was kept" if share is None else f"a covered step costs {share:.1%} of a full one"


def _estimates(document: Document) -> str:
    """Median error by way of measuring."""
    found = [(way, one["median_error_frac"]) for way, one in document["summary"].items() if one is not None]
    return "median error " + ", ".join(f"{way} {error:.1%}" for way, error in found)


def _survival(document: Document) -> str:
    healthy = document["healthy"]
    return f"{sum(one['killed'] is not None for one in healthy)} of {len(healthy)} healthy runs ended early"


def _release(document: Document) -> str:
    return "passed" if all(one["status"] == "passed" for one in document["steps"]) else "not passed"


VERDICTS: Mapping[Kind, Callable[[Document], str]] = {
    kinds.TIMING: _timing,
    kinds.MEMORY: _memory,
    kinds.COMPARISON: _comparison,
    kinds.TRAINING: _training,
    kinds.PROFILE: _profile,
    kinds.SURVIVAL: _survival,
    kinds.RELEASE: _release,
    kinds.ESTIMATES: _estimates,
    kinds.OVERHEAD: lambda one: f"{one['ratio'] - 1.0:+.1%} in a full step",
    kinds.ALARMS: lambda one: (
        f"{one['same_code']['num_with_alarm']} false alarms in {one['same_code']['num_comparisons']} comparisons"
    ),
    kinds.STOPPING: lambda one: f"{len(one['simulated'])} rules simulated",
    kinds.POLICIES: lambda one: f"{len(one['worth'])} settings",
    kinds.VALUE_MODELS: lambda one: f"{len(one['models'])} models, {one['num_runs']} runs",
    kinds.LARGE: lambda one: f"{len(one['rows'])} settings",
    kinds.ATTACHED: lambda one: f"{len(one['losses'])} runs",
    kinds.SAME_RESULTS: lambda one: (
        f"{max(len(row['differing']) for row in one['earlier'])} of {len(one['runs'])} runs differ"
    ),
}
