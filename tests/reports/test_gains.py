"""The figure of each inner optimizer by itself and with jumps, from made-up cells of known ratios."""

import csv
import io
from pathlib import Path

import pytest
from references.stored_comparisons import comparison, stored_as
from references.stored_optimizers import several

from hpt_reports.figures.gains import NAME, draw_gains, gains_of
from hpt_reports.page import Links
from hpt_reports.pages import evaluation


def test_every_optimizer_stands_with_and_without_jumps(tmp_path: Path) -> None:
    """Muon is worth 1.7 for 1.25 of work, jumps 1.3 on AdamW and 1.1 on Muon."""
    (source,) = stored_as(tmp_path, one=several()).sources
    rows = list(csv.DictReader(io.StringIO(draw_gains(source).csv)))
    found = {
        (row["optimizer"], row["jumps"], row["kind"]): float(row["ratio"]) for row in rows if row["workload"] == "mlp"
    }
    expected = {
        ("adamw", "by itself", "steps_ratio"): 1.0,
        ("adamw", "by itself", "work_ratio"): 1.0,
        ("adamw", "with jumps", "steps_ratio"): 1.3,
        ("adamw", "with jumps", "work_ratio"): 1.3,
        ("muon", "by itself", "steps_ratio"): 1.7,
        ("muon", "by itself", "work_ratio"): 1.7 / 1.25,
        ("muon", "with jumps", "steps_ratio"): 1.1 * 1.7,
        ("muon", "with jumps", "work_ratio"): 1.1 * 1.7 / 1.25,
    }
    assert found == pytest.approx(expected, rel=0.01)
    assert len(rows) == 2 * len(expected)
    assert draw_gains(source).draw().startswith(b"<?xml")


def test_what_was_not_measured_or_diverged_is_not_drawn(tmp_path: Path) -> None:
    """A hybrid without a complete pair has no row; a ratio of 0 has no place on a logarithmic axis."""
    document = several()
    arms = document["workloads"]["mlp"]["arms"]
    arms["hybrid-muon"].update(measures=None, judgement=None, own=None)
    document["workloads"]["mlp"]["headline"] = document["headline"] = None
    for kind in ("steps_ratio", "work_ratio"):
        arms["hybrid"]["measures"][kind]["value"] = 0.0
    (source,) = stored_as(tmp_path, one=document).sources
    assert [one.hybrid is None for one in gains_of(source)] == [False, True, False, False]
    figure = draw_gains(source)
    assert "mlp,muon,with jumps" not in figure.csv
    assert figure.draw().startswith(b"<?xml")


def test_the_evaluation_opens_with_it_where_several_optimizers_were_compared(tmp_path: Path) -> None:
    """Elsewhere with the ratios of the first comparison."""
    page = evaluation.build(stored_as(tmp_path / "a", one=several()), Links("runs/"))
    assert page.opening == NAME
    assert NAME in page.figures
    page = evaluation.build(stored_as(tmp_path / "b", one=comparison()), Links("runs/"))
    assert page.opening.startswith("ratios_")
    assert NAME not in page.figures
