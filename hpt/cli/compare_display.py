"""How a comparison is doing, on stderr, and what it found, on stdout.

On a terminal a live table shows running cells, counts and the time left; elsewhere a line marks every finished cell.
"""

import shlex
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpt.cli.closing import MORE, Closing, report_of
from hpt.cli.console import Heartbeat, duration, message_console
from hpt.cli.tables import table
from hpt.compare.cells import Cell, CellResult
from hpt.compare.claims import Effect
from hpt.compare.judging import HYBRID
from hpt.compare.runner import Progress, Watcher
from hpt.compare.sentences import NO_PEER
from hpt.compare.tables import ratio_cell, sentences_of, tables_of

SHOWN_ENDED = 8
# whatever the width
KEPT = ("arm", "work ratio", "verdict", "over never", "value of a jump", "learning rate")
MEANINGS: Mapping[str, str] = {
    Effect.ACCELERATES: "It pays here: the baseline needs so many times the work for the same loss",
    Effect.NO_DIFFERENCE: "No difference is shown, which does not show that there is none",
    Effect.HURTS: "It hurts here",
}
LEADING = frozenset({"method", "peer", "ablation"})
"""Roles of arms that may pay."""
_Leading = tuple[str, Mapping[str, Any], Mapping[str, Any], Mapping[str, str]]
"""What is quoted, its work ratio and judgement, and the arm by workload."""
KEPT_OF_HEADLINE = ("best by itself", "over it, work", "over it, verdict", "over the reference, work")


@contextmanager
def hide_cells(*_: object) -> Generator[Watcher]:
    """A watcher that shows nothing."""
    yield lambda _: None


@contextmanager
def show_cells(what: str, total: int) -> Generator[Watcher]:
    """A watcher of the runner that shows progress while entered."""
    console = message_console()
    if not console.is_terminal:
        yield _Lines(what, total)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield _LiveTable(what, total, live)


class _Lines:
    """A line whenever a cell ends, or none was printed for a minute."""

    def __init__(self, what: str, total: int, heartbeat: Heartbeat | None = None) -> None:
        self._what = what
        self._total = total
        self._heartbeat = heartbeat or Heartbeat()

    def __call__(self, progress: Progress) -> None:
        if progress.last is not None:
            cell, result = progress.last
            facts = f"{cell.key}  {ended_text(result)}"
        elif self._heartbeat.is_due:
            facts = "  ".join(f"{key}  running, {duration(seconds)}" for key, seconds in progress.running.items())
        else:
            return
        self._heartbeat.beat()
        line = f"{self._what} {progress.done}/{self._total}  {facts}  {duration(progress.left_s)} left"
        print(line, file=sys.stderr, flush=True)


class _LiveTable:
    """Running cells, the last ended ones, and counts."""

    def __init__(self, what: str, total: int, live: Live) -> None:
        self._what = what
        self._total = total
        self._live = live
        self._ended: list[tuple[Cell, CellResult | None]] = []

    def __call__(self, progress: Progress) -> None:
        if progress.last is not None:
            self._ended = [*self._ended, progress.last][-SHOWN_ENDED:]
        self._live.update(Group(self._cells(progress), self._counts(progress)), refresh=True)

    def _cells(self, progress: Progress) -> RenderableType:
        rows = [(cell.key, ended_text(result)) for cell, result in self._ended]
        rows += [(key, f"running, {seconds:.0f} s") for key, seconds in progress.running.items()]
        return table(None, (self._what, "state"), rows, width=self._live.console.width)

    def _counts(self, progress: Progress) -> Text:
        return Text(
            f"{progress.done} of {self._total} done, {len(progress.failed)} failed, {len(progress.running)} running, "
            f"{progress.left} to start, {duration(progress.left_s)} left"
        )


def ended_text(result: CellResult | None) -> str:
    """Loss and seconds of an ended cell: 'loss 1.2345, 3.2 s', 'diverged, 3.2 s' or 'failed'."""
    if result is None:
        return "failed"
    loss = "diverged" if result.final_loss is None else f"loss {result.final_loss:.4f}"
    return f"{loss}, {result.train_s:.1f} s"


def show_results(summary: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Print all tables, the sentences, and where the files are."""
    for one in tables_of(summary):
        if one.rows:
            console.print(
                table(
                    one.title,
                    one.head,
                    one.rows,
                    width=console.width,
                    keep=(*KEPT, *KEPT_OF_HEADLINE),
                    text=("source",),
                )
            )
    for sentence in sentences_of(summary):
        console.print(sentence, soft_wrap=True)
    if not summary["complete"]:
        console.print("Not all cells are done; this is what there is.")
    console.print(f"All measures: {folder}/tables.md", soft_wrap=True)


def closing_of(summary: Mapping[str, Any], folder: Path) -> Closing:
    """The last lines, from summary.json: one ratio, whether it shows anything, and what would show more."""
    resume = ["hpt", "compare", "--resume", "--out", str(folder)]
    found = _leading(summary)
    if found is None:
        return _without_ratio(summary, folder, shlex.join(resume))
    name, ratio, judgement, arms = found
    seeds = len(summary["settings"]["seeds"])
    where = f"on {', '.join(summary['workloads'])}, {seeds} seed{'s' * (seeds > 1)}"
    result = f"{name} {where}: work ratio {ratio_cell(ratio)}{_beside(summary)}"
    if not summary["complete"]:
        return Closing(f"{result}, so far", "Not every cell has a result, so nothing follows yet.", shlex.join(resume))
    meaning = f"{MEANINGS[judgement['verdict']]} ({judgement['reason']})."
    brackets = _brackets(summary, arms)
    if None in brackets:
        meaning += " Learning rates were not tuned, so this is no claim."
        return Closing(result, meaning, shlex.join([*resume, "--tune"]))
    if False in brackets:
        meaning += " A best learning rate lay at the edge of what was tried, so this is no claim."
    if judgement["verdict"] == Effect.NO_DIFFERENCE and summary.get("resolution") is None:
        return Closing(result, meaning, shlex.join([*resume, "--seeds", str(MORE * seeds)]))
    return Closing(result, meaning, report_of("evaluation", folder))


def _beside(summary: Mapping[str, Any]) -> str:
    """A gain over one optimizer says nothing of others."""
    return "" if len(summary["settings"].get("optimizers", ())) > 1 else NO_PEER


def _without_ratio(summary: Mapping[str, Any], folder: Path, resume: str) -> Closing:
    """Nothing has a result on every workload, or nothing was asked for that could pay."""
    asked = [arm["role"] for values in summary["workloads"].values() for arm in values["arms"].values()]
    if summary["complete"] and not LEADING & set(asked):
        meaning = f"Controls and calibrations check the comparison itself; their ratios are in {folder / 'tables.md'}."
        return Closing("no method was compared", meaning, report_of("evaluation", folder))
    problems = sorted({values["problem"] for values in summary["workloads"].values() if values["problem"]})
    why = "; ".join(problems) or "no method has a result on every workload"
    return Closing("no ratio was measured", f"{why[0].upper()}{why[1:]}.", resume)


def _leading(summary: Mapping[str, Any]) -> _Leading | None:
    """The ratio that the comparison was made for: the hybrid's, else that of the first method that has one."""
    headline = summary.get("headline")
    if headline is not None and len(summary["settings"]["optimizers"]) > 1:
        arms: dict[str, str] = {name: values["headline"]["arm"] for name, values in summary["workloads"].items()}
        side = headline["over_own"]
        return "hybrid on the best optimizer, over that by itself,", side["work_ratio"], side["judgement"], arms
    measured = {name: arm for name, arm in summary["overall"].items() if arm["role"] in LEADING}
    name = next(iter(sorted(measured, key=lambda one: (one != HYBRID, measured[one]["role"] != "method"))), None)
    if name is None:
        return None
    on_each: Mapping[str, str] = dict.fromkeys(map(str, summary["workloads"]), str(name))
    return name, measured[name]["work_ratio"], measured[name]["judgement"], on_each


def _brackets(summary: Mapping[str, Any], arms: Mapping[str, str]) -> set[bool | None]:
    """Of every side of the ratio: was the learning rate's bracket closed? None: it was not tuned."""
    found: set[bool | None] = set()
    for name, values in summary["workloads"].items():
        sides: list[Mapping[str, Any] | None] = [values["baseline"], values["arms"][arms[name]]]
        found |= {side["tuned"]["bracket_closed"] for side in sides if side and side["tuned"]}
    return found
