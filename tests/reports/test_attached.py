"""The gain inside Hugging Face's Trainer beside that inside HybridTrainer."""

import json
from pathlib import Path
from typing import Any

from references.markdown_tables import cells_of

from hpt_reports.evidence import gather
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation

STORED = Path(__file__).parent / "data" / "attached.json"


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "attached.json").write_text(json.dumps(document))
    return evaluation.build(gather(folder), Links("runs/"))


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """The page says so, and names the script."""
    page = evaluation.build(gather(tmp_path), Links("runs/"))
    assert page.values["attached"] is None
    assert any("measure_attached.py" in one.command for one in page.missing)


def test_the_share_is_that_of_the_gains_summed_over_the_seeds_of_both(tmp_path: Path) -> None:
    """(.04 + .05) of (.05 + .05); seeds of one arm alone do not count."""
    document = json.loads(STORED.read_text())
    document["losses"].append({"arm": "hf-jumps", "seed": 7, "loss": 0.1})
    assert "is 90.0 % of" in page_of(tmp_path, document).values["attached"]["setting"]


def test_a_row_holds_the_differences_to_the_loop_without_jumps(tmp_path: Path) -> None:
    """By seed, and their mean."""
    rows = page_of(tmp_path, json.loads(STORED.read_text())).values["attached"]["rows"].splitlines()[2:]
    assert cells_of(rows[1])[1:5] == ["2", "1.5050", "+0.0400, +0.0500", "+0.0450"]


def test_without_the_other_trainer_nothing_is_compared(tmp_path: Path) -> None:
    """Said in words, and the rows that are there are shown."""
    document = json.loads(STORED.read_text())
    document["losses"] = [one for one in document["losses"] if one["arm"] != "hybrid-prior"]
    assert "not measured" in page_of(tmp_path, document).values["attached"]["setting"]
