"""Where every command shows results and progress: consoles that take text as it is, and a bar that fits its line."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_WIDTH = 160  # columns where nobody tells how many there are
GAP = 2  # columns between two facts
BAR_WIDTH = 16
MINUTE_S, HOUR_S = 60, 3600


class Heartbeat:
    """Says when a line is due where nothing is redrawn: after a minute without one.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_s = clock, clock()

    @property
    def is_due(self) -> bool:
        """A minute has passed since the last line."""
        return self._clock() - self._last_s >= MINUTE_S

    def beat(self) -> None:
        """Note that a line was printed now."""
        self._last_s = self._clock()


def result_console() -> Console:
    """Standard output; where nobody tells its width, wide enough for whole rows. Brackets in text are brackets."""
    is_told = os.environ.get("COLUMNS", "").isdigit()
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal and not is_told:
        console.width = PLAIN_WIDTH
    return console


def message_console(*, quiet: bool = False) -> Console:
    """Standard error, for progress. Brackets in text are brackets; a quiet one shows nothing."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, quiet=quiet)


def fitted(parts: Sequence[str], width: int) -> str:
    """As many of the parts, the most wanted first, as there is room for; at least the first."""
    line = parts[0]
    for part in parts[1:]:
        if cell_len(line) + GAP + cell_len(part) > width:
            break
        line += " " * GAP + part
    return line


class LiveBar:
    """A bar, done of all, and as many facts as there is room for; drawn when it is told to.

    Args:
        console: of stderr, on a terminal.
        total: what there is to do.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        columns = (BarColumn(BAR_WIDTH), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, auto_refresh=False)  # no thread beside the training
        self._task = self._progress.add_task("", total=total)

    def draw(self, done: int, facts: Sequence[str]) -> None:
        """Show how far it is, and the facts, the most wanted first."""
        text = fitted([f"{done}/{self._total}", *facts], self._console.width - BAR_WIDTH - GAP)
        self._progress.update(self._task, completed=done, description=text, refresh=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def duration(seconds: float | None) -> str:
    """Time in the two units that matter: '8 s', '3 min 20 s', '2 h 5 min'; '-' when unknown."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
