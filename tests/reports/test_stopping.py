"""The section on looking after every seed shows what is stored, and says what is not."""

import json
from pathlib import Path
from typing import Any

from references.markdown_tables import cells_of

from hpt_reports.evidence import gather
from hpt_reports.kinds import STOPPING
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation, stopping

STORED = Path(__file__).parent / "data" / "stopping.json"


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "stopping.json").write_text(json.dumps(document))
    return evaluation.build(gather(folder), Links("runs/"))


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """The page says so, and names the script."""
    page = evaluation.build(gather(tmp_path), Links("runs/"))
    assert page.values["stopping"] is None
    assert any("measure_stopping.py" in one.command for one in page.missing)


def test_rows_are_the_stored_shares_with_their_errors(tmp_path: Path) -> None:
    """A false-alarm rate and the lowest of the coverages, whatever its place among them."""
    document = json.loads(STORED.read_text())
    first = document["simulated"][0]
    first["false_alarms"] = {"value": 0.0445, "error": 0.00146}
    first["stops"][1] |= {"coverage": {"value": 0.912, "error": 0.002}, "mean_seeds": 6.5}
    first["stops"][0]["coverage"] = first["stops"][2]["coverage"] = {"value": 0.95, "error": 0.0}
    row = page_of(tmp_path, document).values["stopping"]["simulated"].splitlines()[2]
    assert cells_of(row)[:5] == [
        "normal",
        "plain",
        "4.45 % ± 0.15 %",
        "91.2 % ± 0.20 %",
        "6.50",
    ]


def test_a_width_that_no_look_gives_is_more_than_the_last_one(tmp_path: Path) -> None:
    """Null in the file; the plain rule is what the widths are named after."""
    document = json.loads(STORED.read_text())
    document["rules"]["spending"]["seeds_for_width"] = {"4": 8, "10": None}
    rows = page_of(tmp_path, document).values["stopping"]["rules"].splitlines()[2:]
    assert [cells_of(row)[:2] for row in rows] == [["4", "8"], ["10", "more than 20"]]


def test_without_real_differences_there_is_no_table_of_them(tmp_path: Path) -> None:
    """Null is no empty table."""
    document = json.loads(STORED.read_text()) | {"real": None}
    (tmp_path / "stopping.json").write_text(json.dumps(document))
    (source,) = gather(tmp_path).of(STOPPING)
    assert stopping.section(source, Links("runs/"))["real"] == ""
