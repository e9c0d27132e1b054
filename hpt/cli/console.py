"""How results and times are shown by every command."""

import time
from collections.abc import Callable

from rich.console import Console

PLAIN_WIDTH = 160  # columns where nobody tells how many there are
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
        """No line came for a minute."""
        return self._clock() - self._last_s >= MINUTE_S

    def beat(self) -> None:
        """A line was printed."""
        self._last_s = self._clock()


def result_console() -> Console:
    """Standard output; where it is no terminal, wide enough for whole rows."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


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
