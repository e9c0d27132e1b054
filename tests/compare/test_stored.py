"""One odd value in a file of a comparison is refused in one line, or does no harm."""

import json
from pathlib import Path

import pytest
from references.damage import damages, is_named
from references.known_results import make_result

from hpt.compare.cells import Cell, CellFolder, Recipe
from hpt.compare.readings import decisions, forecast_scores, fork_values, reliability, training_curve
from hpt.compare.request import ComparisonFolder, ComparisonRequest
from hpt.documents import DocumentError
from hpt.errors import UsageError

CELL = Cell(workload="mlp", arm="hybrid", seed=0, steps=70, recipe=Recipe())
RESULT = make_result(
    1.25,
    70,
    confidence={"table": [{"low": 0.0, "count": 3, "mean_probability": 0.5, "frequency": 0.2}]},
    scores={"rssm": {"nll_mean": 1.0, "count": 3}},
    forks=[{"value": 1.0, "step": 3}, {"value": "-inf", "step": 3}],
    values={
        "decisions": [{"step": 3, "policy": "half", "means": {"half": 0.1}, "sds": {"half": 0.2}, "why": "it pays"}]
    },
)


def test_a_cell_with_an_odd_value_is_refused_by_name_or_can_be_read(tmp_path: Path) -> None:
    """Every value of its file, damaged in every way; what is not refused is measured without an error."""
    folder = CellFolder(tmp_path)
    folder.store(CELL, RESULT)
    file = folder.file_of(CELL)
    num_refused = 0
    unnamed: list[str] = []
    for place, document in damages(json.loads(file.read_text())):
        file.write_text(json.dumps(document))
        try:
            result = folder.load(CELL)
        except DocumentError as error:
            unnamed += [] if str(file) in str(error) and is_named(place, str(error)) else [f"{place}: {error}"]
            num_refused += 1
            continue
        assert result is not None
        for read in (training_curve, reliability, forecast_scores, fork_values, decisions):
            read({0: result})
        assert result.loss + result.full_step_equivalents + result.backwards > 0.0
    assert unnamed == []
    assert num_refused > 300


def test_a_request_with_an_odd_value_is_refused_by_name_or_can_be_planned(tmp_path: Path) -> None:
    """comparison.json, which `--resume` begins with."""
    folder = ComparisonFolder(tmp_path)
    request = ComparisonRequest(
        budget="quick", workloads="mlp=30", arms="never", seeds=2, first_seed=0, tune=False, device="cpu", threads=1
    )
    folder.begin(request)
    file = tmp_path / "comparison.json"
    unnamed: list[str] = []
    for place, document in damages(json.loads(file.read_text())):
        file.write_text(json.dumps(document))
        try:
            folder.stored().plan()
        except UsageError as error:
            unnamed += [] if is_named(place, str(error)) else [f"{place}: {error}"]
    assert unnamed == []


def test_a_request_of_a_newer_hpt_is_refused_as_such(tmp_path: Path) -> None:
    """Its fields may mean something else."""
    folder = ComparisonFolder(tmp_path)
    folder.begin(ComparisonRequest())
    file = tmp_path / "comparison.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(DocumentError, match="schema_version is 2, this hpt reads up to 1"):
        folder.stored()
