"""How far a benchmark run is: a bar over scenarios with the time left, or plain lines where there is no terminal."""

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hpt.cli.console import duration


class BenchProgress:
    """Shows what `hpt.bench.session` tells.

    Args:
        num_scenarios: that were asked for.
        console: of stderr.
        clock: seconds, monotonic.
    """

    def __init__(self, num_scenarios: int, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.num_done = 0
        self._num_scenarios, self._console, self._clock = num_scenarios, console, clock
        self._num_measured, self._began_s = 0, clock()
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"))
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("", total=num_scenarios, facts="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def left_s(self) -> float | None:
        """Seconds to the end, at the speed of the scenarios measured so far; None before the first."""
        if not self._num_measured:
            return None
        return (self._clock() - self._began_s) / self._num_measured * (self._num_scenarios - self.num_done)

    def watch(self, name: str, state: str) -> None:
        """Take note of what became of a scenario, and show it."""
        if state in {"finished", "kept"} or state.startswith("failed"):
            self.num_done = min(self.num_done + 1, self._num_scenarios)
            self._num_measured += state != "kept"
        self._show(name, state)

    def _show(self, name: str, state: str) -> None:
        facts = f"{name} {state}  {duration(self.left_s)} left"
        if self._bar is None:
            if state != "measuring":
                self._console.print(f"{self.num_done}/{self._num_scenarios}  {facts}", highlight=False, soft_wrap=True)
            return
        self._bar.update(self._task, completed=self.num_done, facts=facts)
