"""Where the time of a training run went: its own seconds by phase and by part, of the newest run that has any."""

import json
from pathlib import Path
from typing import Any

import pytest
from references.markdown_tables import rows_of
from references.stored_comparisons import DATA

from hpt_reports.evidence import gather
from hpt_reports.page import Links, Page
from hpt_reports.pages import benchmarking


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads((DATA / "train" / "run.json").read_text())


def page_of(folder: Path, *documents: dict[str, Any]) -> Page:
    for place, one in enumerate(documents):
        (folder / str(place)).mkdir()
        (folder / str(place) / "run.json").write_text(json.dumps(one))
    return benchmarking.build(gather(folder), Links("runs/"))


def test_seconds_of_a_run_are_told_by_phase_and_by_part(tmp_path: Path, document: dict[str, Any]) -> None:
    """Ten calls of PREDICT in 20 ms of 80; parts the largest first; a phase that was never called has no row."""
    document["phases"] = {"WARMUP": 0, "FULL": 30, "PREDICT": 10, "CORRECT": 0}
    document["seconds"] = {
        "phase": {"WARMUP": 0.0, "FULL": 0.06, "PREDICT": 0.02, "CORRECT": 0.0},
        "part": {"jump": 0.02, "forward": 0.06},
    }
    times = page_of(tmp_path, document).values["run"]
    full, predict = rows_of(times["phases"])
    assert (full["phase"], full["calls"], full["time a call"]) == ("FULL", "30", "2.00 ms")
    assert (predict["phase"], predict["time a call"], predict["share of the time"]) == ("PREDICT", "2.00 ms", "25.0 %")
    parts = [(row["part"], row["share of the time"]) for row in rows_of(times["parts"])]
    assert parts == [("forward", "75.0 %"), ("jump", "25.0 %")]


def test_a_run_that_was_stopped_before_its_first_step_is_passed_over(tmp_path: Path, document: dict[str, Any]) -> None:
    """The newest one with seconds is shown; without any it is said how to make one."""
    nothing = {"phase": dict.fromkeys(document["phases"], 0.0), "part": {}}
    stopped = document | {"finished_at": "2099-01-01T00:00:00+00:00", "status": "interrupted", "seconds": nothing}
    page = page_of(tmp_path, document, stopped)
    assert "0/run.json" in page.values["run"]["run"]
    (tmp_path / "0" / "run.json").unlink()
    page = benchmarking.build(gather(tmp_path), Links("runs/"))
    assert page.values["run"] is None
    assert any(one.command.startswith("hpt train") for one in page.missing)
