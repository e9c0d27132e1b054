"""How a run is doing, a live line on a terminal and a line every tenth elsewhere, and what it came to.

The live line is redrawn by the records that pass, at most four times a second, and not by a thread, which
would compete with the training for the machine's cores.
"""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from rich.columns import Columns
from rich.console import Console, RenderableType

from hpt.cli.console import Heartbeat, LiveBar, duration, message_console
from hpt.cli.tables import table
from hpt.cli.train_decisions import last_decision, told
from hpt.records import Phase, Record, Sink, StepRecord
from hpt.run.record import RunRecord
from hpt.run.trouble import TroubleCount

REDRAW_S = 0.25
PLAIN_LINES = 10
SHORT_S = 60.0  # below this, fractions of a second matter
SHOWN_COUNTERS = (
    *("optimizer_updates", "forwards", "backwards", "jumps_proposed", "jumps_accepted", "jumps_rejected"),
    *("jumps_rolled_back", "steps_covered_by_jumps", "forks", "full_step_equivalents"),
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
        self._last: StepRecord | None = None
        self._covered, self._first_step = covered, first_step
        self._clock, self._began_s = clock, clock()

    def __call__(self, record: Record) -> None:
        """Take the step number and numbers to show from a step's record; others are ignored."""
        if isinstance(record, StepRecord):
            self.step, self._last = record.step, record

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

    def facts(self) -> tuple[str, ...]:
        """Phase, loss, time left, share covered by jumps, speed and confidence: the most wanted first."""
        last = self._last
        return (
            f"{(last.phase if last else Phase.WARMUP).value:<7}",
            f"loss {_number(last and last.loss, '.4f')}",
            f"{duration(self.left_s)} left",
            f"covered {self.covered_frac:.1%}",
            f"{self.steps_per_s:.1f} steps/s",
            f"confidence {_number(last and last.confidence, '.2f')}",
        )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


@contextmanager
def show_progress(tally: Tally, *, is_quiet: bool = False) -> Generator[Sink]:
    """A sink that shows the run while it goes; live on a terminal, plain lines elsewhere.

    Trouble, decisions and forks are told as they come: words are wrapped on a terminal, elsewhere each is one line.
    With `is_quiet` only trouble is.
    """
    console = message_console()
    if is_quiet:
        yield _with_news(tally, console, is_quiet=True)
        return
    if not console.is_terminal:
        yield _with_news(_plain_lines(tally), console)
        return
    with LiveBar(console, tally.total_steps) as bar:
        drawn_s = 0.0

        def live_line(record: Record) -> None:
            nonlocal drawn_s
            tally(record)
            if time.monotonic() - drawn_s >= REDRAW_S:
                drawn_s = time.monotonic()
                bar.draw(tally.step, tally.facts())

        try:
            yield _with_news(live_line, console)
        finally:
            bar.draw(tally.step, tally.facts())


def _with_news(shown: Sink, console: Console, *, is_quiet: bool = False) -> Sink:
    """The sink, and a line on the console for trouble, and unless `is_quiet` for a decision or a fork."""
    troubles = TroubleCount()

    def sink(record: Record) -> None:
        shown(record)
        line = troubles.told(record) or (None if is_quiet else told(record))
        if line is not None:
            console.print(line, soft_wrap=not console.is_terminal)

    return sink


def _plain_lines(tally: Tally, heartbeat: Heartbeat | None = None) -> Sink:
    """A line whenever another tenth of the run is done, or none was printed for a minute."""
    heartbeat = heartbeat or Heartbeat()

    def tenths() -> int:
        return PLAIN_LINES * tally.step // max(1, tally.total_steps)

    shown = tenths()

    def line(record: Record) -> None:
        nonlocal shown
        tally(record)
        if tenths() > shown or heartbeat.is_due:
            shown = tenths()
            heartbeat.beat()
            facts = "  ".join(tally.facts())
            print(f"step {tally.step}/{tally.total_steps}  {facts}", file=sys.stderr, flush=True)

    return line


def show_summary(record: RunRecord, folder: str, console: Console) -> None:
    """Print the tables of a run: how it ended, its phases, the work done, where the time went; and its files."""
    counters, parts = record.counters or {}, (record.seconds or {}).get("part", {})
    tables = (
        _table(("phase", "calls"), record.phases or {}, console.width),
        _table(("work", "count"), {name: counters.get(name) for name in SHOWN_COUNTERS}, console.width),
        _table(("time in", "s"), parts, console.width),
    )
    title = f"{record.workload['name']}, {record.config['predictor']}, seed {record.seed}"
    console.print(_table(("outcome", "value"), _outcome(record), console.width, title))
    console.print(Columns(tables, padding=(0, 4)))
    console.print(f"Files: {folder}", soft_wrap=not console.is_terminal)


def _outcome(record: RunRecord) -> dict[str, object]:
    """How the run ended: status, loss against the chance level, confidence, what is played and why, wall time."""
    decision = last_decision(record.predictor)
    short = record.wall_s is not None and record.wall_s < SHORT_S
    calibration = {
        f"confidence {name}": value
        for name, value in (record.confidence or {}).items()
        if isinstance(value, (int, float, str))
    }
    return {
        "status": record.status if record.message is None else f"{record.status}: {record.message}",
        "updates": f"{_text(record.num_updates)} of {record.settings['steps']}",
        "validation loss": "not measured" if record.final_loss is None else record.final_loss,
        "chance level": record.workload["chance_loss"],
        **calibration,
        **({} if decision is None else {"decision": decision}),
        **record.troubles,
        "wall time": f"{record.wall_s:.2f} s" if short else duration(record.wall_s),
    }


def _table(head: tuple[str, str], values: Mapping[str, object], width: int, title: str | None = None) -> RenderableType:
    rows = [(name.replace("_", " "), _text(number)) for name, number in values.items()]
    return table(title, head, rows, width=width, text=("value",))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
