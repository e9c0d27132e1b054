"""Tables cut no number and no verdict, whatever the width, and show brackets as they are."""

import io
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hpt.cli.console import fitted, result_console
from hpt.cli.tables import table

HEAD = ("scenario", "median +- std", "ratio", "95 % interval", "old", "p", "remark", "verdict")
KEPT = ("median +- std", "ratio", "verdict")
ROWS = (
    ("rssm_prediction/horizon_10", "66.1 +- 0.67 us", "1.000", "0.976 .. 1.025", "66.1 us", "0.5", "", "same"),
    ("state_history/record_step_full_history", "1.02 +- 0.1 s", "12.345", "-", "78.4 us", "1", "a few words", "no"),
    ("x[red]y[/]/[z]", "3 +- 1 ns", "0.5", "-", "-", "-", "see [1, 2] and [/nothing]", "regressed, past the gate"),
)  # fmt: skip


def lines_of(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, keep: Sequence[str] = ()) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as shown:
        console.print(table("title", head, rows, width=width, keep=keep, text=("remark",)))
    return shown.get().splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 60, 79, 80, 81, 100, 120, 160, 400])
def test_what_must_stay_stays_whole_on_a_line(width: int) -> None:
    """Median with spread, ratio and verdict of every row; no line is wider than the screen, none has an ellipsis."""
    lines = lines_of(HEAD, ROWS, width, KEPT)
    for row in ROWS:
        for place in (1, 2, 7):
            words = [row[place]] if width >= 40 else row[place].split()  # between words at the narrowest
            assert all(any(word in line for line in lines) for word in words), (row[place], lines)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_columns_are_dropped_from_the_right_and_only_where_there_is_no_room() -> None:
    shown = {width: lines_of(HEAD, ROWS, width, KEPT)[1] for width in (80, 110, 400)}
    kept = {
        width: [name for name in HEAD if re.search(rf"(^|  ){re.escape(name)}(  |$)", line)]
        for width, line in shown.items()
    }
    assert kept[400] == list(HEAD)
    assert kept[80] == ["scenario", "median +- std", "ratio", "verdict"]
    assert set(kept[80]) < set(kept[110])
    assert [name for name in HEAD if name not in KEPT and name in kept[110]][:2] == ["scenario", "95 % interval"]


def test_brackets_are_brackets() -> None:
    """In names, texts and titles: nothing is taken for markup, and nothing fails."""
    text = "\n".join(lines_of(HEAD, ROWS, 200))
    assert "x[red]y[/]/[z]" in text
    assert "see [1, 2] and [/nothing]" in text


@given(
    cells=st.lists(
        st.lists(st.from_regex(r"[a-z\[\]]{1,40}|\d{1,9}\.\d{1,4}", fullmatch=True), min_size=4, max_size=4),
        min_size=1,
        max_size=4,
    ),
    width=st.integers(24, 200),
)
def test_any_cell_that_is_kept_can_be_read(cells: list[list[str]], width: int) -> None:
    """A number is on one line; a name may be folded, but all its letters are there."""
    head = ("name", "number", "share", "verdict")
    lines = lines_of(head, cells, width)
    letters = "".join("".join(lines).split())
    for row in cells:
        for cell in row:
            if cell[0].isdigit():
                assert any(cell in line for line in lines)
            else:
                assert len([one for one in cell if one in letters]) == len(cell)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("50", 50), ("", 160), (None, 160)])
def test_the_width_is_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    """Without a terminal: COLUMNS, else wide enough for whole rows."""
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert result_console().width == width


@pytest.mark.parametrize(("width", "line"), [(5, "12/60"), (14, "12/60  loss 1"), (80, "12/60  loss 1  3 s left")])
def test_facts_are_dropped_from_the_end(width: int, line: str) -> None:
    assert fitted(("12/60", "loss 1", "3 s left"), width) == line
