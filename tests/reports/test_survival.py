"""The page on what was survived says what is stored, and misses what was not caught."""

import json
from pathlib import Path
from typing import Any

import pytest

from hpt_reports.evidence import gather
from hpt_reports.page import MISSED, REACHED, Links, Page
from hpt_reports.pages import survival

STORED = Path(__file__).parent / "data" / "survival.json"


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "survival.json").write_text(json.dumps(document))
    return survival.build(gather(folder), Links("runs/"))


def words(page: Page) -> dict[str, str]:
    return {one.what: one.word for one in page.verdicts}


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """Five lines that say so, and the command that measures."""
    page = survival.build(gather(tmp_path), Links("runs/"))
    assert [line.endswith("not measured.") for line in page.summary] == [True] * 5
    assert "measure_survival.py" in page.missing[0].command


@pytest.mark.parametrize(
    ("part", "name", "value", "missed"),
    [
        ("healthy", "killed", "weights are broken", "runs of 2000 updates that were ended"),
        ("healthy", "num_unwarranted", 1, "rollbacks without a broken weight"),
        ("planted", "caught_after_losses", 4, "planted: corrupted layer"),
        ("planted", "caught_after_losses", None, "planted: corrupted layer"),
    ],
)
def test_one_failure_is_a_verdict_missed(tmp_path: Path, part: str, name: str, value: Any, missed: str) -> None:
    """A run that was ended, a rollback without cause, a fault caught late or never."""
    document = json.loads(STORED.read_text())
    for one in document["planted"]:
        one["caught_after_losses"] = 3
    fine = words(page_of(tmp_path, document))
    assert MISSED not in fine.values()
    assert fine[missed] == REACHED
    document[part][0][name] = value
    assert words(page_of(tmp_path, document)) == fine | {missed: MISSED}
