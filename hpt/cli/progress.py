"""How a run is doing, on stderr: one live line on a terminal, else a plain line every tenth of the run.

The live line is redrawn by the records that pass, at most four times a second, and not by a thread, which
would compete with the training for the machine's cores.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hpt.records import Phase, Record, Sink, StepRecord

REDRAW_S = 0.25
PLAIN_LINES = 10
MINUTE_S, HOUR_S = 60, 3600


class Tally:
    """The numbers worth showing, gathered from records.

    Args:
        total_steps: planned net updates.
        first_step: net updates before this part of the run.
        covered: tells the steps covered by jumps so far; asked only when a line is drawn.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total_steps: int,
        first_step: int = 0,
        covered: Callable[[], int] = int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total_steps = total_steps
        self.step = first_step
        self.phase = Phase.WARMUP
        self.loss: float | None = None
        self.confidence: float | None = None
        self._covered = covered
        self._first_step = first_step
        self._clock = clock
        self._began_s = clock()

    def __call__(self, record: Record) -> None:
        """Take note of a record."""
        if isinstance(record, StepRecord):
            self.step, self.phase = record.step, record.phase
            self.loss, self.confidence = record.loss, record.confidence

    @property
    def covered_frac(self) -> float:
        """Share of the steps so far, updates and covered ones, that jumps stood for."""
        covered = self._covered()
        reached = self.step + covered
        return covered / reached if reached else 0.0

    @property
    def steps_per_s(self) -> float:
        """Net updates a second in this part of the run."""
        elapsed_s = self._clock() - self._began_s
        return (self.step - self._first_step) / elapsed_s if elapsed_s > 0.0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at the speed so far; None while there is no speed."""
        speed = self.steps_per_s
        return (self.total_steps - self.step) / speed if speed > 0.0 else None

    def describe(self) -> str:
        """One line: phase, loss, confidence, share covered by jumps, speed and time left."""
        parts = [
            f"{self.phase.value:<7}",
            f"loss {_number(self.loss, '.4f')}",
            f"confidence {_number(self.confidence, '.2f')}",
            f"covered {self.covered_frac:.1%}",
            f"{self.steps_per_s:.1f} steps/s",
            f"{duration(self.left_s)} left",
        ]
        return "  ".join(parts)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


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


@contextmanager
def show_progress(tally: Tally) -> Generator[Sink]:
    """A sink that shows the run while it goes; live on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _PlainLines(tally)
        return
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"))
    with Progress(*columns, console=console, auto_refresh=False) as bar:
        live = _LiveLine(tally, bar)
        try:
            yield live
        finally:
            live.redraw()


class _PlainLines:
    """A line whenever another tenth of the run is done."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._shown = self._tenths()

    def _tenths(self) -> int:
        return PLAIN_LINES * self._tally.step // max(1, self._tally.total_steps)

    def __call__(self, record: Record) -> None:
        self._tally(record)
        if self._tenths() > self._shown:
            self._shown = self._tenths()
            done = f"step {self._tally.step}/{self._tally.total_steps}"
            print(f"{done}  {self._tally.describe()}", file=sys.stderr, flush=True)


class _LiveLine:
    """A bar redrawn as records pass."""

    def __init__(self, tally: Tally, bar: Progress) -> None:
        self._tally = tally
        self._bar = bar
        self._task = bar.add_task("", total=tally.total_steps, completed=tally.step, facts="")
        self._drawn_s = 0.0

    def __call__(self, record: Record) -> None:
        self._tally(record)
        if time.monotonic() - self._drawn_s >= REDRAW_S:
            self.redraw()

    def redraw(self) -> None:
        """Draw the present state."""
        self._bar.update(self._task, completed=self._tally.step, facts=self._tally.describe())
        self._bar.refresh()
        self._drawn_s = time.monotonic()
