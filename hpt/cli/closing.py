"""The last three lines of a command: the result, what it means, and the command to run next.

Each command makes its own, from what it stored, so that a line holds no number that is not in a file.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

MORE = 2
"""Times as many steps or seeds are proposed where those that were run do not suffice."""
REPORTS = "out/reports"


@dataclass(frozen=True, slots=True)
class Closing:
    """What a person wants to know at the end.

    Attributes:
        result: the number that was asked for, with its unit.
        meaning: what follows from it, and what does not.
        next: a command line that runs as it stands.
    """

    result: str
    meaning: str
    next: str


def show_closing(closing: Closing, console: Console) -> None:
    """Print the three lines; none is broken, so that the last can be copied."""
    for name, text in (("Result", closing.result), ("Meaning", closing.meaning), ("Next", closing.next)):
        console.print(f"{name}: {text}", soft_wrap=True)


def report_of(name: str, folder: Path) -> str:
    """The command that writes the report `name` of a stored run."""
    return shlex.join(["hpt", "report", name, "--runs", str(folder), "--out", REPORTS])
