"""Markdown as the reports use it: tables, and text of stored files made harmless."""

import html
import re
from collections.abc import Sequence

import pandas as pd

from reports.numbers import NOT_MEASURED

LONGEST_NUMBER = 40
NO_NUMBERS = frozenset({"-", "", NOT_MEASURED, "no claim", "not there", "no interval", "diverged"})
"""What stands in a column of numbers where there is none."""
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?x?(?:\s|$)")


def harmless(text: object) -> str:
    """Text from a stored file on one line, without anything that Markdown or HTML would act on."""
    line = " ".join(str(text).split())
    escaped = html.escape(line, quote=False).replace("|", "\\|").replace("`", "'")
    return escaped.replace("[", "\\[").replace("]", "\\]").replace("*", "\\*").replace("_", "\\_")


def code(text: object) -> str:
    """Text from a stored file as code."""
    line = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of short cells that mostly begin with a number are aligned to the right."""
    if not rows:
        return ""
    align = ["right" if _are_numbers(cells) else "left" for cells in zip(*rows, strict=True)]
    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return str(frame.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align))


def _are_numbers(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if cell not in NO_NUMBERS]
    return bool(known) and all(len(cell) <= LONGEST_NUMBER and _NUMBER.match(cell) for cell in known)


def fenced(command: str) -> str:
    """A command to copy."""
    return f"```sh\n{command}\n```"
