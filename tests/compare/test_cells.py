"""Names, files and recipes of cells."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from references.known_results import make_result

from hpt.compare.cells import Cell, CellFolder, Recipe
from hpt.errors import UsageError

CELL = Cell(workload="own.module:make", arm="lr-x1.25", seed=3, steps=70, recipe=Recipe(lr_factor=1.25))


@pytest.mark.parametrize(
    "other",
    [
        replace(CELL, seed=4),
        replace(CELL, steps=71),
        replace(CELL, threads=2),
        replace(CELL, recipe=replace(CELL.recipe, boost=1.5)),
        replace(CELL, recipe=replace(CELL.recipe, config={"predictor": "rssm"})),
    ],
)
def test_whatever_decides_the_result_decides_the_name(other: Cell) -> None:
    """A changed recipe is another cell, an equal one the same."""
    assert other.key != CELL.key
    assert replace(CELL).key == CELL.key


def test_results_come_back_as_they_were_stored(tmp_path: Path) -> None:
    """Cell and result, through the file."""
    folder, result = CellFolder(tmp_path / "cells"), make_result(1.25, 70)
    assert folder.load(CELL) is None
    folder.store(CELL, result)
    assert folder.load(CELL) == result


@pytest.mark.parametrize("text", ["{", '{"schema_version": 99}'])
def test_a_file_that_is_no_cell_is_refused(tmp_path: Path, text: str) -> None:
    """With what to do about it."""
    folder = CellFolder(tmp_path)
    folder.file_of(CELL).write_text(text)
    with pytest.raises(UsageError, match="--resume"):
        folder.load(CELL)


@pytest.mark.parametrize("changes", [{"shape": "square"}, {"lr_factor": 0.0}, {"boost": float("nan")}])
def test_nonsense_recipes_are_refused(changes: dict[str, Any]) -> None:
    """At birth, with field and value."""
    with pytest.raises(UsageError, match=next(iter(changes))):
        Recipe(**changes)
