"""What is shown while cells run, on a terminal and elsewhere."""

import io

import pytest
from references.known_results import make_result
from rich.console import Console
from rich.live import Live

from hpt.cli.compare_display import _Lines, _LiveTable, show_cells
from hpt.cli.console import Heartbeat
from hpt.compare.cells import Cell, Recipe
from hpt.compare.runner import Progress

RUNNING = Progress(done=2, failed={}, running={"mlp-frozen": 75.0}, left=5, left_s=None)
CELL = Cell(workload="mlp", arm="hybrid", seed=1, steps=50, recipe=Recipe())
ENDED = Progress(
    done=3,
    failed={"other": "why"},
    running={"mlp-frozen": 12.3},
    left=4,
    left_s=95.0,
    last=(CELL, make_result(1.5, 50)),
)


def test_the_live_table_shows_done_running_left_and_time() -> None:
    """All that the user wants to know while waiting."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with Live(console=console, auto_refresh=False) as live:
        _LiveTable("cells", 8, live)(ENDED)
    shown = text.getvalue()
    for part in (CELL.key, "loss 1.5000", "running, 12 s", "3 of 8 done", "1 failed", "4 to start", "1 min 35 s left"):
        assert part in shown


def test_without_a_terminal_a_line_marks_every_ended_cell(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else is printed, nothing on stdout."""
    with show_cells("cells", 8) as watcher:
        watcher(Progress(done=2, failed={}, running={CELL.key: 1.0}, left=5, left_s=None))
        watcher(ENDED)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [f"cells 3/8  {CELL.key}  loss 1.5000, 0.5 s  1 min 35 s left"]


def test_a_silent_minute_is_broken_by_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is redrawn, a cell of an hour does not look like one that hangs; a line that came puts it off."""
    times_s = iter([0.0, 30.0, 80.0, 90.0, 90.0, 91.0, 150.0, 150.0])  # at each look, and at each line
    watcher = _Lines("cells", 8, Heartbeat(lambda: next(times_s)))
    for progress in (ENDED, RUNNING, RUNNING, RUNNING, RUNNING):
        watcher(progress)
    _, *lines = capsys.readouterr().err.splitlines()
    assert lines == ["cells 2/8  mlp-frozen  running, 1 min 15 s  - left"] * 2


def test_a_diverged_cell_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Not nan, not 0."""
    with show_cells("cells", 8) as watcher:
        watcher(Progress(1, {}, {}, 0, None, (CELL, make_result(float("inf"), 50))))
        watcher(Progress(1, {CELL.key: "why"}, {}, 0, None, (CELL, None)))
    first, second = capsys.readouterr().err.splitlines()
    assert "diverged" in first
    assert "failed" in second
