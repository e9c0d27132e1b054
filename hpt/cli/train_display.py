"""How a run is doing, a live line on a terminal and a line every tenth elsewhere, and what it came to.

The live line is redrawn by the records that pass, at most four times a second, and not by a thread, which
would compete with the training for the machine's cores.
"""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from hpt.cli.console import duration
from hpt.records import Phase, Record, Sink, StepRecord
from hpt.run.folder import RunRecord

REDRAW_S = 0.25
PLAIN_LINES = 10
SHORT_S = 60.0  # below this, fractions of a second matter
SHOWN_COUNTERS = (
    "optimizer_updates",
    "forwards",
    "backwards",
    "jumps_proposed",
    "jumps_accepted",
    "jumps_rejected",
    "jumps_rolled_back",
    "steps_covered_by_jumps",
    "forks",
    "full_step_equivalents",
)


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


def show_summary(record: RunRecord, folder: str, console: Console) -> None:
    """Print the tables of a run and where its files are."""
    console.print(Group(outcome_table(record), _side_by_side(record)))
    console.print(f"Files: {folder}", highlight=False, soft_wrap=True)


def outcome_table(record: RunRecord) -> Table:
    """How the run ended: status, loss against the chance level, confidence, wall time."""
    table = Table(title=f"{record.workload['name']}, {record.config['predictor']}, seed {record.seed}")
    table.add_column("outcome")
    table.add_column("value", justify="right")
    table.add_row("status", record.status if record.message is None else f"{record.status}: {record.message}")
    table.add_row("updates", f"{_text(record.num_updates)} of {record.settings['steps']}")
    table.add_row("validation loss", "not measured" if record.final_loss is None else _text(record.final_loss))
    table.add_row("chance level", _text(record.workload["chance_loss"]))
    for name, value in (record.confidence or {}).items():
        if isinstance(value, (int, float, str)):
            table.add_row(f"confidence {name}".replace("_", " "), _text(value))
    short = record.wall_s is not None and record.wall_s < SHORT_S
    table.add_row("wall time", f"{record.wall_s:.2f} s" if short else duration(record.wall_s))
    return table


def _side_by_side(record: RunRecord) -> Table:
    grid = Table.grid(padding=(0, 2))
    shown = {name: (record.counters or {}).get(name) for name in SHOWN_COUNTERS}
    grid.add_row(
        _table("phase", "calls", record.phases or {}),
        _table("work", "count", shown),
        _table("time in", "s", (record.seconds or {}).get("part", {})),
    )
    return grid


def _table(key: str, value: str, rows: Mapping[str, object]) -> Table:
    table = Table()
    table.add_column(key)
    table.add_column(value, justify="right")
    for name, number in rows.items():
        table.add_row(name.replace("_", " "), _text(number))
    return table


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
