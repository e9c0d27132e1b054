"""Tables of a Markdown page as the tests read them."""

import re

_BAR = re.compile(r"(?<!\\)\|")
"""A bar that parts cells; one with a backslash before it is text."""


def cells_of(row: str) -> list[str]:
    """The cells of one line of a table."""
    return [cell.strip() for cell in _BAR.split(row.strip())[1:-1]]


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of the first table in a text, by column."""
    head, _, *rows = [cells_of(line) for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(head, row, strict=True)) for row in rows]
