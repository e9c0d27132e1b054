"""Tables for a screen of any width: columns are dropped, numbers and verdicts are never cut.

A table that is too wide loses columns from the right, but none that it must keep; texts are wrapped between words. If
even that is too wide, names are folded, and at last every row becomes a block of lines.
"""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

GAP = 2  # columns of the screen between two cells
LEAST_TEXT = 24  # columns of the screen below which no text and no name is folded
COLOURS = {
    "passed": "green",
    "improved": "green",
    "failed": "red",
    "regressed": "red",
    "inconclusive": "yellow",
    "reported": "cyan",
}


def table(
    title: str | None,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    keep: Sequence[str] = (),
    text: Sequence[str] = (),
) -> RenderableType:
    """Rows under a head, within `width` columns of the screen.

    Args:
        title: stands above; None for none.
        head: names of the columns; the first is the rows' name, on the left like every word, numbers on the right.
        rows: cells, which may be empty; a verdict is coloured.
        width: columns of the screen.
        keep: names of the columns that are never dropped; the first never is. Empty: all.
        text: names of the columns that may be wrapped between words.
    """
    columns = list(zip(head, *rows, strict=True))
    shown = list(range(len(head)))
    while _least(columns, shown, head, text) > width:
        droppable = [place for place in shown[1:] if keep and head[place] not in keep]
        if not droppable:
            break
        shown.remove(droppable[-1])
    if _least(columns, shown, head, text) > width:
        text = (*text, head[0])  # the name is folded, too
    if _least(columns, shown, head, text) > width:
        body: RenderableType = _blocks(head, rows, shown)
    else:
        body = _grid([columns[place] for place in shown], [head[place] in text for place in shown], width)
    return body if title is None else Group(Text(title, style="bold"), body, Text())


def _least(columns: Sequence[Sequence[str]], shown: Sequence[int], head: Sequence[str], text: Sequence[str]) -> int:
    """Columns of the screen below which something would be cut."""
    return sum(_least_width(columns[place], is_text=head[place] in text) + GAP for place in shown) - GAP


def _least_width(column: Sequence[str], *, is_text: bool) -> int:
    if not is_text:
        return max(map(cell_len, column))
    return min(LEAST_TEXT, max(cell_len(word) for cell in column for word in cell.split() or [""]))


def _grid(columns: Sequence[Sequence[str]], are_text: Sequence[bool], width: int) -> Table:
    """A table of fixed widths: what numbers leave is shared by texts in proportion to what they lack."""
    least = [_least_width(column, is_text=is_text) for column, is_text in zip(columns, are_text, strict=True)]
    lacking = [max(map(cell_len, column)) - have for column, have in zip(columns, least, strict=True)]
    left = width - sum(least) - GAP * (len(columns) - 1)
    share = 1.0 if left >= sum(lacking) else left / sum(lacking)
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=True)
    for place, column in enumerate(columns):
        is_left = place == 0 or are_text[place] or not any(map(str.isdigit, "".join(column[1:])))
        wide = least[place] + int(lacking[place] * share)
        grid.add_column(column[0], width=wide, overflow="fold", justify="left" if is_left else "right")
    for row in zip(*(column[1:] for column in columns), strict=True):
        grid.add_row(*map(_coloured, row))
    return grid


def _blocks(head: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[int]) -> Group:
    """The name of a row, and a line for every other cell."""
    lines = [[row[0], *(f"  {head[place]}: {row[place]}" for place in shown[1:])] for row in rows]
    return Group(*(Text(line) for block in lines for line in block))


def _coloured(cell: str) -> Text:
    return Text(cell, style=COLOURS.get(cell.partition(",")[0], ""))
