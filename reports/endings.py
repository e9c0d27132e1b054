"""The last lines of training, comparing and validating, made anew from stored runs, as a terminal shows them."""

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from hpt.cli.closing import Closing
from hpt.cli.compare_display import closing_of as closing_of_comparison
from hpt.cli.train_closing import closing_of as closing_of_training
from hpt.cli.validate_display import closing_of as closing_of_validation
from hpt.run.folder import RunFolder
from hpt_reports import kinds
from hpt_reports.comparisons import budget_of
from hpt_reports.evidence import Evidence, Source
from hpt_reports.kind import Kind
from hpt_reports.page import Links

Ending = Callable[[Path, Path], Closing]
"""From the stored file, and the folder that the command was given for it."""
OUT = "--out"
FAILED = "failed"


def endings(evidence: Evidence, links: Links) -> list[str]:
    """A console session for each of the three commands that has a finished run, with the run it is of, as Markdown."""
    found = [(_widest(evidence, kind, wanted), ending) for kind, wanted, ending in _SHOWN]
    lines: list[str] = []
    for source, ending in found:
        if source is not None:
            made_by = f"hpt {(source.provenance.machine or {}).get('hpt', 'of an unknown version')}"
            lines += ["", "```console", *_session(source, ending), "```", "", f"Run: {links.to(source)}, {made_by}."]
    return lines


def _session(source: Source, ending: Ending) -> list[str]:
    words = shlex.split(source.provenance.command)
    closing = ending(source.file, _folder_in(words))
    said = [f"Result: {closing.result}", f"Meaning: {closing.meaning}", f"Next: {closing.next}"]
    return [f"$ {shlex.join(words)}", *said]


def _folder_in(words: Sequence[str]) -> Path:
    """The folder that the command names for its results."""
    return Path(words[words.index(OUT) + 1]) if OUT in words[:-1] else Path("runs")


def _widest(evidence: Evidence, kind: Kind, wanted: Callable[[Source], bool]) -> Source | None:
    """Of those that are wanted the first of the most workloads, which for other kinds is the first."""
    found = [one for one in evidence.sources if one.kind is kind and wanted(one)]
    return max(found, key=lambda one: len(one.document.get("workloads", ())), default=None)


def _of_training(file: Path, folder: Path) -> Closing:
    return closing_of_training(RunFolder(file.parent).read(), folder)


def _of_comparison(file: Path, folder: Path) -> Closing:
    return closing_of_comparison(json.loads(file.read_bytes()), folder)


def _of_validation(file: Path, folder: Path) -> Closing:
    return closing_of_validation(json.loads(file.read_bytes()), folder)


def _is_done(source: Source) -> bool:
    return source.document["status"] == "done"


def _is_standard(source: Source) -> bool:
    return bool(source.document["complete"]) and budget_of(source) == "standard"


def _is_of_a_gpu(source: Source) -> bool:
    checks = source.document["checks"]
    fails = any(check["verdict"] == FAILED for check in checks)
    return bool(checks) and not fails and source.document["settings"]["device"] != "cpu"


_SHOWN: tuple[tuple[Kind, Callable[[Source], bool], Ending], ...] = (
    (kinds.TRAINING, _is_done, _of_training),
    (kinds.COMPARISON, _is_standard, _of_comparison),
    (kinds.MEMORY, _is_of_a_gpu, _of_validation),
)
