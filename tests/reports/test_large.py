"""What jumps bring to models for a GPU: the tables show what is stored."""

import json
from pathlib import Path
from typing import Any

from references.markdown_tables import cells_of

from hpt_reports.evidence import gather
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation

STORED = Path(__file__).parent / "data" / "large.json"


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "large.json").write_text(json.dumps(document))
    return evaluation.build(gather(folder), Links("runs/"))


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """The page says so, and names the script."""
    page = evaluation.build(gather(tmp_path), Links("runs/"))
    assert page.values["large"] is None
    assert any("summarize_large.py" in one.command for one in page.missing)


def test_the_worth_is_the_geometric_mean_over_seeds(tmp_path: Path) -> None:
    """sqrt(1.2 x 1.3), with both ends; without a longer run it is not measured."""
    rows = page_of(tmp_path, json.loads(STORED.read_text())).values["large"]["rows"].splitlines()[2:]
    assert cells_of(rows[1])[3:8] == ["default", "25", "1.5000, diverged", "1.3000 after 700", "1.25x [1.20x, 1.30x]"]
    assert cells_of(rows[2])[7] == "not measured"


def test_a_best_rate_at_the_edge_of_those_tried_is_said(tmp_path: Path) -> None:
    """Sorted by rate, not as text; a diverged trial is the worst."""
    rows = page_of(tmp_path, json.loads(STORED.read_text())).values["large"]["rates"].splitlines()[2:]
    assert cells_of(rows[0])[3:5] == ["x 0.25: 2.3000, x 0.5: 2.2000, x 1: 2.4000", "between two worse ones"]
    assert cells_of(rows[1])[4] == "at the edge"
