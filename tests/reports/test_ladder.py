"""The gain against the size of a model, from stored comparisons together."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from references.markdown_tables import cells_of
from references.stored_comparisons import stored_as
from references.stored_optimizers import several

from hpt_reports.figures.optimizers import draw_ladder
from hpt_reports.ladder import COMMAND, ladder
from hpt_reports.page import Links
from hpt_reports.pages import evaluation
from hpt_reports.pages.ladder import ladder_table

LINKS = Links("runs/")
SMALL, LARGE = 103_000, 1_050_000


def rung(name: str, num_weights: int | None, **changes: Any) -> dict[str, Any]:
    return several(names=(name,), num_weights=num_weights, **changes)


def test_two_comparisons_make_a_ladder_with_the_known_gains(tmp_path: Path) -> None:
    """The hybrid 1.3 on AdamW and 1.1 on Muon, Muon by itself 1.7, in steps; the smallest model first."""
    small, large = rung("byte-gpt", SMALL), rung("byte-gpt-1m", LARGE, budget="quick")
    found = ladder(stored_as(tmp_path, b=large, a=small))
    assert found is not None
    assert [(one.workload, one.num_weights) for one in found.rungs] == [("byte-gpt", SMALL), ("byte-gpt-1m", LARGE)]
    for one in found.rungs:
        values = [gain["value"] for gain in one.gains.values() if gain is not None]
        assert values == pytest.approx([1.3, 1.1, 1.7], rel=0.01)
    assert len(found.sources) == 2


def test_the_figure_and_the_table_hold_the_same_rungs(tmp_path: Path) -> None:
    """A point a gain and size, with its interval around it."""
    found = ladder(stored_as(tmp_path, a=rung("byte-gpt", SMALL), b=rung("byte-gpt-1m", LARGE)))
    assert found is not None
    figure = draw_ladder(found)
    rows = list(csv.DictReader(io.StringIO(figure.csv)))
    assert sorted({int(row["num_weights"]) for row in rows}) == [SMALL, LARGE]
    assert len(rows) == 6
    assert all(float(row["low"]) <= float(row["steps_ratio"]) <= float(row["high"]) for row in rows)
    assert figure.draw().startswith(b"<?xml")
    assert [cells_of(line)[1] for line in ladder_table(found, LINKS).splitlines()[2:]] == [
        str(SMALL),
        str(LARGE),
    ]


@pytest.mark.parametrize(
    "documents",
    [
        {},
        {"a": rung("byte-gpt", SMALL)},
        {"a": rung("byte-gpt", SMALL), "b": rung("byte-gpt-1m", None)},
        {"a": rung("byte-gpt", SMALL), "b": rung("byte-gpt-1m", LARGE, optimizers=("adamw", "soap"))},
        {"a": rung("byte-gpt", SMALL), "b": rung("byte-gpt-1m", LARGE, optimizers=("workload",))},
    ],
    ids=["nothing", "one size", "no number of weights", "no Muon", "one optimizer"],
)
def test_without_both_sizes_it_is_not_measured_and_the_command_is_there(
    tmp_path: Path, documents: dict[str, Any]
) -> None:
    """No figure, no table."""
    page = evaluation.build(stored_as(tmp_path, **documents), LINKS)
    assert page.values["ladder"] == ""
    assert "ladder" not in page.figures
    assert COMMAND in [one.command for one in page.missing]
