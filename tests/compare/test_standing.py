"""What is settled and what is missing, on folders whose recipes and results are put there by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from references.known_results import make_result

from hpt.compare.cells import Recipe
from hpt.compare.peers import BY_SEEDS, BY_TRIALS
from hpt.compare.request import ComparisonFolder, ComparisonRequest
from hpt.compare.search import UNTUNED, Tuned
from hpt.compare.shards import Shard
from hpt.compare.standing import Standing, Unsettled
from hpt.compare.tuning import TuningCache, tuned_places

REQUEST = ComparisonRequest(workloads="regression=40", arms="nesterov,frozen", budget="quick", seeds=2)
PEERS = replace(REQUEST, optimizers="adamw,sgd")
TRIALS = {
    name: [{"lr_factor": 1.0, "shape": "linear", "memory": None, "loss": loss}]
    for name, loss in (("a", 2.0), ("b", 1.0))
}


def standing(request: ComparisonRequest, path: Path) -> Standing:
    folder = ComparisonFolder(path)
    return Standing(request.plan(), TuningCache(folder.recipes), folder.cells, tunes=bool(request.tune))


def settle(request: ComparisonRequest, path: Path, tuned: Tuned = UNTUNED, arms: tuple[str, ...] = ()) -> None:
    """Store recipes of what is not settled: of these arms, or of all."""
    plan, recipes = request.plan(), TuningCache(path / "recipes")
    for task, arm in standing(request, path).open_places:
        if not arms or arm.name in arms:
            recipes.store(plan, task, arm, tuned)


def finish(request: ComparisonRequest, path: Path, loss_by_arm: dict[str, float]) -> None:
    """Store a result of every cell that is missing; of an arm without a loss 3."""
    folder = ComparisonFolder(path)
    for cell in standing(request, path).missing():
        folder.cells.store(cell, make_result(loss_by_arm.get(cell.arm, 3.0), cell.steps))


def test_without_recipes_no_cell_has_a_name(tmp_path: Path) -> None:
    """What is waited for is named instead."""
    found = standing(REQUEST, tmp_path)
    assert found.cells() == []
    assert found.waits_for() == [
        Unsettled("recipe", "regression", "baseline"),
        Unsettled("recipe", "regression", "nesterov"),
    ]
    assert not found.document()["complete"]


def test_cells_are_listed_once_their_recipes_are_there(tmp_path: Path) -> None:
    """The baseline's recipe brings its own cells, four lengths, two seeds, and those of `frozen`, which uses it."""
    settle(REQUEST, tmp_path, arms=("baseline",))
    found = standing(REQUEST, tmp_path)
    assert {cell.arm for cell in found.cells()} == {"baseline", "frozen"}
    assert len(found.missing()) == (4 + 1) * 2
    settle(REQUEST, tmp_path)
    found = standing(REQUEST, tmp_path)
    assert len(found.missing()) == (4 + 2) * 2
    assert found.waits_for() == []


def test_what_is_there_is_not_missing(tmp_path: Path) -> None:
    """Cell by cell, until it is complete."""
    settle(REQUEST, tmp_path)
    first, *others = standing(REQUEST, tmp_path).missing()
    ComparisonFolder(tmp_path).cells.store(first, make_result(1.0, first.steps))
    assert [cell.key for cell in standing(REQUEST, tmp_path).missing()] == [cell.key for cell in others]
    finish(REQUEST, tmp_path, {})
    assert standing(REQUEST, tmp_path).document() == {
        "schema_version": 1,
        "kind": "missing cells",
        "shard": None,
        "complete": True,
        "cells": [],
        "waits_for": [],
    }


def test_a_shard_lists_its_own(tmp_path: Path) -> None:
    """The lists of all shards together are the list without a shard."""
    settle(REQUEST, tmp_path)
    found = standing(REQUEST, tmp_path)
    by_shard = [found.document(Shard(index, 3))["cells"] for index in (1, 2, 3)]
    assert sorted(one["key"] for cells in by_shard for one in cells) == sorted(cell.key for cell in found.missing())


@pytest.mark.parametrize(("source", "is_settled"), [("workload", False), ("tuned", True), ("cached", True)])
def test_a_tuned_comparison_takes_no_recipe_without_trials(tmp_path: Path, source: str, is_settled: bool) -> None:
    """The workload's own settings do not count as settled where trials were asked for."""
    request = replace(REQUEST, tune=True)
    settle(request, tmp_path, Tuned(recipe=Recipe(), source=source))
    assert (standing(request, tmp_path).waits_for() == []) is is_settled


def test_the_best_optimizer_is_known_after_all_of_its_rivals_cells(tmp_path: Path) -> None:
    """Until then the arms that run on it wait; afterwards their recipes, and then their cells, are there to be had."""
    settle(PEERS, tmp_path)
    found = standing(PEERS, tmp_path)
    assert found.waits_for() == [Unsettled("best optimizer", "regression")]
    assert {cell.arm for cell in found.cells()} == {"baseline", "sgd"}
    finish(PEERS, tmp_path, {"sgd": 1.0})
    found = standing(PEERS, tmp_path)
    assert (found.bests["regression"].optimizer, found.bests["regression"].chosen_by) == ("sgd", BY_SEEDS)
    assert found.waits_for() == [Unsettled("recipe", "regression", "nesterov-sgd")]
    settle(PEERS, tmp_path)
    found = standing(PEERS, tmp_path)
    assert {cell.arm for cell in found.missing()} == {"nesterov-sgd", "frozen-sgd"}


def test_the_best_optimizer_by_trials_needs_the_trials_of_all(tmp_path: Path) -> None:
    """One that is still being tuned may yet turn out to be the best."""
    request = replace(PEERS, tune=True)
    settle(request, tmp_path, Tuned(recipe=Recipe(), source="tuned", trials=TRIALS["a"]), arms=("baseline",))
    assert standing(request, tmp_path).bests == {}
    settle(request, tmp_path, Tuned(recipe=Recipe(), source="tuned", trials=TRIALS["b"]), arms=("sgd",))
    best = standing(request, tmp_path).bests["regression"]
    assert (best.optimizer, best.chosen_by) == ("sgd", BY_TRIALS)


def test_cells_of_recipes_without_trials_do_not_say_which_is_the_best(tmp_path: Path) -> None:
    """A comparison that ran untuned, and is tuned now, knows its best optimizer only by trials."""
    settle(PEERS, tmp_path)
    finish(PEERS, tmp_path, {"sgd": 1.0})
    assert standing(replace(PEERS, tune=True), tmp_path).bests == {}


def test_places_are_those_of_the_plan(tmp_path: Path) -> None:
    """What is open at the beginning is what a runner would tune first."""
    found = standing(REQUEST, tmp_path)
    plan = REQUEST.plan()
    assert found.open_places == tuned_places(plan, found.bests)
