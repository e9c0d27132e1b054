"""Numbers and stored text as readers see them: three significant figures, Markdown tables, nothing that acts."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hpt_reports.bounds import bounds_of, direction

NOT_MEASURED = "not measured"
DIVERGED = "diverged"
_ROUNDING = 1e-9
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
LONGEST_NUMBER = 40
NO_NUMBERS = frozenset({"-", "", NOT_MEASURED, "no claim", "not there", "no interval", DIVERGED})
"""What stands in a column of numbers where there is none."""
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?x?(?:\s|$)")


def plain(value: float | None, figures: int = 3) -> str:
    """Three significant figures without an exponent for sizes that people write out."""
    if value is None or isinstance(value, bool):
        return NOT_MEASURED if value is None else ("yes" if value else "no")
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if value == 0.0:
        return "0"
    digits = figures - 1 - math.floor(math.log10(abs(value)))
    if not -4 <= digits <= 8:
        return f"{value:.{figures - 1}e}"
    rounded = round(value, digits)
    return f"{rounded:.{max(digits, 0)}f}"


def seconds(value: float | None) -> str:
    """12.3 µs."""
    if value is None:
        return NOT_MEASURED
    scale, unit = next((one for one in _SECONDS if abs(value) >= one[0]), _SECONDS[-1])
    return f"{plain(value / scale)} {unit}"


def num_bytes(value: float | None) -> str:
    """1.5 MiB; binary units."""
    if value is None:
        return NOT_MEASURED
    scale, unit = next((one for one in _BYTES if abs(value) >= one[0]), _BYTES[-1])
    return f"{value:.0f} B" if unit == "B" else f"{plain(value / scale)} {unit}"


def ratio(value: float | None) -> str:
    """1.30x."""
    return NOT_MEASURED if value is None else f"{plain(value)}x"


def percent(value: float | None) -> str:
    """A share as 12.3 %; what only rounding left over is 0."""
    if value is None:
        return NOT_MEASURED
    return f"{plain(100.0 * value if abs(value) > _ROUNDING else 0.0)} %"


def interval(low: float | None, high: float | None, text: str = "") -> str:
    """[low, high] with a unit; "no interval" where an end is missing."""
    if low is None or high is None:
        return "no interval"
    return f"[{plain(low)}, {plain(high)}]{text}"


def bounded(found: Mapping[str, Any]) -> str:
    """A stored ratio without its interval; its direction where it is only a bound."""
    return f"{ratio(found['value'])}{direction(bounds_of([found]))}" if found["value"] else DIVERGED


def ratio_cell(found: Mapping[str, Any] | None) -> str:
    """A stored ratio with its interval, its direction where it is only a bound, or why there is none."""
    if found is None:
        return NOT_MEASURED
    return f"{bounded(found)} {interval(found['low'], found['high'])}" if found["value"] else DIVERGED


def count(number: int, word: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def harmless(text: object) -> str:
    """Text from a stored file on one line, without anything that Markdown or HTML would act on."""
    line = " ".join(str(text).split())
    escaped = html.escape(line, quote=False).replace("|", "\\|").replace("`", "'")
    return escaped.replace("[", "\\[").replace("]", "\\]").replace("*", "\\*").replace("_", "\\_")


def code(text: object) -> str:
    """Text from a stored file as code."""
    line = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def table(rows: Sequence[Mapping[str, str]], source: str = "") -> str:
    """A Markdown table; columns of short cells that mostly begin with a number are aligned to the right.

    Args:
        rows: cells by column, the same columns in each; none make no table.
        source: a link that all rows rest on, as their last column.
    """
    if not rows:
        return ""
    import pandas as pd  # noqa: PLC0415 - slow, and `hpt runs` formats ratios alone

    frame = pd.DataFrame([{**row, "source": source} if source else row for row in rows], dtype=object)
    align = ["right" if _are_numbers(frame[name].tolist()) else "left" for name in frame.columns]
    return str(frame.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align))


def _are_numbers(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if cell not in NO_NUMBERS]
    return bool(known) and all(len(cell) <= LONGEST_NUMBER and _NUMBER.match(cell) for cell in known)


def fenced(command: str) -> str:
    """A command to copy."""
    return f"```sh\n{command}\n```"


def file_name(text: str) -> str:
    """Text as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text)


def in_brackets(text: str) -> str:
    """The text in brackets behind a space; nothing where there is none."""
    return f" ({text})" if text else ""
