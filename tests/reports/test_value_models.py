"""Which belief does best on runs that it has not seen: the page shows what is stored, and says what is not."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from references.markdown_tables import rows_of

from hpt_reports.evidence import gather
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation

STORED = Path(__file__).parent / "data" / "value_models.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(STORED.read_text())


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "value_models.json").write_text(json.dumps(document))
    return evaluation.build(gather(folder), Links("runs/"))


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """The page says so, and names the script."""
    page = evaluation.build(gather(tmp_path), Links("runs/"))
    assert page.values["value_models"] is None
    assert any("fit_values.py" in one.command for one in page.missing)


def test_every_model_is_shown_with_what_it_chose_and_how_honest_it_was(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    """A log work ratio of 0.06 is 1.06 times; a model that tells no spread has neither density nor Brier score."""
    (split,) = page_of(tmp_path, document).values["value_models"]["splits"]
    rows = {next(iter(row.values())): row for row in rows_of(split["scores"])}
    assert rows["prior"]["work ratio of what it chose"] == f"{math.exp(0.06):.2f}x"
    assert (rows["prior"]["Brier score"], rows["prior"]["of the base rate"]) == ("0.180", "0.250")
    assert (rows["linucb"]["nats"], rows["linucb"]["Brier score"]) == ("not measured", "not measured")
    assert "half" in split["held_against"]


def test_a_split_for_which_runs_were_too_few_is_left_out(tmp_path: Path, document: dict[str, Any]) -> None:
    """And with it its figure; of each other there is one."""
    page = page_of(tmp_path, document)
    assert [one["name"] for one in page.values["value_models"]["splits"]] == ["workload"]
    assert [name for name in page.figures if name.startswith("beliefs_")] == ["beliefs_workload"]


def test_the_figure_holds_every_filled_bin_and_every_models_gap(tmp_path: Path, document: dict[str, Any]) -> None:
    """A bin without an outcome has no frequency, and is no point of the curve."""
    lines = page_of(tmp_path, document).figures["beliefs_workload"].csv.splitlines()
    assert lines[1:] == [
        "prior,gap recovered,,0.5,24",
        "linucb,gap recovered,,-0.2,24",
        "prior,reliability,0.2,0.25,48",
        "prior,reliability,0.93,0.75,48",
    ]


@pytest.mark.parametrize(
    ("name", "told"), [("prior", "must score the prior"), ("linucb", "scores other, which models does not describe")]
)
def test_a_file_that_lacks_what_models_are_held_against_is_refused(
    tmp_path: Path, document: dict[str, Any], name: str, told: str
) -> None:
    """With the field, and the page goes on without it."""
    models = document["left_out"]["workload"]["models"]
    models["other" if name == "linucb" else "linucb"] = models.pop(name)
    (tmp_path / "value_models.json").write_text(json.dumps(document))
    evidence = gather(tmp_path)
    assert [told in one.reason for one in evidence.remarks] == [True]
    assert evaluation.build(evidence, Links("runs/")).values["value_models"] is None
