"""How results and times are shown by every command."""

from rich.console import Console

PLAIN_WIDTH = 160  # columns where nobody tells how many there are
MINUTE_S, HOUR_S = 60, 3600


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
