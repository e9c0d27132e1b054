"""How a comparison is doing, on stderr, and what it found, on stdout.

On a terminal a live table shows running cells, counts and the time left; elsewhere a line marks every finished cell.
"""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpt.cli.console import Heartbeat, duration, message_console
from hpt.cli.tables import table
from hpt.compare.cells import Cell, CellResult
from hpt.compare.runner import Progress, Watcher
from hpt.compare.tables import sentences_of, tables_of

SHOWN_ENDED = 8
# whatever the width
KEPT = ("arm", "work ratio", "verdict", "over never", "value of a jump", "learning rate")
KEPT_OF_HEADLINE = ("best by itself", "over it, work", "over it, verdict", "over the reference, work")


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
    """What a cell came to."""
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
