"""The section on estimates shows what is stored, and says what is not."""

import json
from pathlib import Path
from typing import Any

from hpt_reports.evidence import gather
from hpt_reports.page import Links, Page
from hpt_reports.pages import layers

STORED = Path(__file__).parent / "data" / "estimates.json"


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "estimates.json").write_text(json.dumps(document))
    return layers.build(gather(folder), Links("runs/"))


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """The page says so, and names the script."""
    page = layers.build(gather(tmp_path), Links("runs/"))
    assert page.values["estimates"] is None
    assert any("measure_estimates.py" in one.command for one in page.missing)


def test_a_row_is_the_stored_numbers_with_their_error(tmp_path: Path) -> None:
    """Measured, estimated, error; what was not measured on a GPU is said so."""
    row = page_of(tmp_path, json.loads(STORED.read_text())).values["estimates"]["rows"].splitlines()[2]
    cells = [cell.strip() for cell in row.split("|")][1:7]
    assert cells == ["mlp-fp32-adamw-b256", "191 MiB", "187 MiB", "-2.00 %", "229 MiB", "not measured"]


def test_a_false_promise_is_named(tmp_path: Path) -> None:
    """In the first sentence, by its configuration; else it says that there is none."""
    document = json.loads(STORED.read_text())
    assert "None is said to fit" in page_of(tmp_path, document).values["estimates"]["setting"]
    document["summary"]["falsely_fits"] = ["mlp-fp32-adamw-b256"]
    assert "do not: mlp-fp32-adamw-b256" in page_of(tmp_path, document).values["estimates"]["setting"]
