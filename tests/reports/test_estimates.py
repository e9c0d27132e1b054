"""The section on estimates shows what is stored, and says what is not."""

import json
from pathlib import Path
from typing import Any

from references.markdown_tables import cells_of

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
    """Estimated, measured, error; a way in which it was not measured is said so."""
    row = page_of(tmp_path, json.loads(STORED.read_text())).values["estimates"]["rows"].splitlines()[2]
    assert cells_of(row)[:6] == [
        *("mlp-fp32-adamw-b256", "187 MiB", "191 MiB (-2.00 %)", "not measured", "229 MiB"),
        "231 MiB (-0.990 %)",
    ]


def test_each_way_of_measuring_has_its_own_verdict(tmp_path: Path) -> None:
    """A false promise is named with the way in which it was found out; what was not measured is said so."""
    document = json.loads(STORED.read_text())
    document["summary"]["mapped"]["falsely_fits"] = ["mlp-fp32-adamw-b256"]
    mapped, default, cuda = page_of(tmp_path, document).values["estimates"]["setting"]
    assert "do not: mlp-fp32-adamw-b256" in mapped
    assert default.endswith("not measured.")
    assert "None is said to fit" in cuda


def test_a_row_without_the_error_of_what_was_measured_is_refused(tmp_path: Path) -> None:
    """The file is named as damaged, and nothing of it is shown."""
    document = json.loads(STORED.read_text())
    document["rows"][0]["error_frac"] = {}
    page = page_of(tmp_path, document)
    assert page.values["estimates"] is None
