"""Seconds are compared on one kind of machine alone, and cells that were timed elsewhere are known."""

from pathlib import Path
from typing import Any

import pytest
from references.known_results import make_result

from hpt.compare.cells import Cell, CellFolder, Recipe
from hpt.compare.machines import FACTS, are_comparable
from hpt.compare.timings import timed_apart, untimed

HERE: dict[str, Any] = {name: f"{name} here" for name in FACTS}


def cells(seeds: int = 2) -> list[Cell]:
    return [
        Cell(workload="mlp", arm=arm, seed=seed, steps=10, recipe=Recipe())
        for seed in range(seeds)
        for arm in ("baseline", "hybrid")
    ]


@pytest.mark.parametrize("fact", FACTS)
def test_any_fact_that_differs_forbids_the_comparison(fact: str) -> None:
    """Processor, cores, memory, device, threads, libraries."""
    one = make_result(1.0, 10, environment=HERE)
    assert are_comparable(one, make_result(2.0, 20, environment={**HERE, "commit": "another"}))
    assert not are_comparable(one, make_result(2.0, 20, environment={**HERE, fact: "elsewhere"}))


def test_a_cell_that_had_company_is_not_compared() -> None:
    """On whatever machine."""
    one, other = (make_result(1.0, 10, environment=HERE, alone=alone) for alone in (True, False))
    assert not are_comparable(one, other)


def test_pairs_timed_on_two_machines_are_found_whole(tmp_path: Path) -> None:
    """Seed 1 has one cell from elsewhere: both of its cells; seed 0 is left as it is."""
    folder, wanted = CellFolder(tmp_path), cells()
    for cell in wanted:
        is_strange = (cell.seed, cell.arm) == (1, "hybrid")
        environment = {**HERE, "cpu_model": "another"} if is_strange else HERE
        folder.store(cell, make_result(1.0, 10, environment=environment))
    assert [cell.key for cell in timed_apart(wanted, folder)] == [cell.key for cell in wanted[2:]]
    assert untimed(wanted, folder) == []


def test_cells_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    """There is nothing to renew."""
    assert (untimed(cells(), CellFolder(tmp_path)), timed_apart(cells(), CellFolder(tmp_path))) == ([], [])
