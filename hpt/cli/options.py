"""Types of options: each refuses a value at once that would fail, or crash the process, much later."""

import math
from typing import Any

import click

from hpt.errors import UsageError

SEED = click.IntRange(0, 2**63 - 1)
COUNT = click.IntRange(1, 10**9)
"""Of steps, windows or tokens."""
QUIET = click.option("--quiet", is_flag=True, help="Print the last three lines only: no progress, no tables.")
THREADS = click.IntRange(1, 1024)
"""Of torch and BLAS; with a hundred thousand they end the process by a segmentation fault."""


PROCESSES = click.IntRange(1, 64)
"""Of one arm on one machine."""


class Real(click.FloatRange):
    """A number in a range, and neither nan nor infinite, which no range refuses by itself."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or a refusal that names the option."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def parse_percent(option: str, text: str | None) -> float | None:
    """A share from "5%" or "5"; None from None.

    Raises:
        UsageError: it is no number above 0.
    """
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share < 100:
        raise UsageError(f"{option} is {text!r}; give a percentage above 0, e.g. 5%")
    return share
