"""Arms that keep the loop: the plain loop where nothing jumps, the hybrid's jumps where it does, its work charged."""

import dataclasses
from functools import cache
from typing import Any

import pytest
import torch

from hpt.compare.cells import Cell, CellResult, Recipe
from hpt.compare.roster import ARMS
from hpt.compare.training import train_cell
from hpt.errors import UsageError
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.plain_loop import PlainLoop

STEPS = 320


@cache
def run(arm: str, steps: int = STEPS, dtype: str = "none", **config: Any) -> CellResult:
    recipe = ARMS[arm].recipe(Recipe())
    recipe = dataclasses.replace(recipe, config=recipe.config | {"full_steps": 15, "gate": "always"} | config)
    return train_cell(Cell(workload="mlp", arm=arm, seed=1, steps=steps, recipe=recipe, dtype=dtype))


def test_before_the_first_jump_it_is_the_plain_loop() -> None:
    """Bit for bit, down to the validation loss."""
    workload = TeacherMLP(seed=1, device=torch.device("cpu"))
    loop = PlainLoop(workload, 60)
    for index in range(60):
        loop.step(workload.batch(index))
    assert run("attached", 60).final_loss == workload.validation_loss(loop.model)


def test_it_jumps_as_often_as_the_hybrid_for_less_work() -> None:
    """The same cycles end in jumps; the loop pays for no probe."""
    owned, attached = run("hybrid"), run("attached")
    assert owned.counters["jumps_accepted"] == attached.counters["jumps_accepted"] > 0
    assert owned.counters["factor_flops"] == attached.counters["factor_flops"] > 0
    assert (owned.counters["probe_forwards"] > 0, attached.counters["probe_forwards"]) == (True, 0)
    saved = owned.full_step_equivalents - attached.full_step_equivalents
    assert saved == pytest.approx(owned.counters["probe_forwards"] / 3)


def test_the_prior_plays_the_same_with_and_without_losses() -> None:
    """Where the gate lets every run jump, losses move no weight."""
    shown, silent = run("attached"), run("attached-silent")
    assert (shown.final_loss, shown.curve) == (silent.final_loss, silent.curve)
    assert silent.scores is None


def test_cells_of_the_trainers_loop_keep_the_names_that_are_stored() -> None:
    """As they were before a recipe could say whose the loop is."""
    plain = Cell(workload="mlp", arm="baseline", seed=0, steps=100, recipe=Recipe())
    recipe = Recipe(lr_factor=1.41, optimizer="muon", config={})
    other = Cell(workload="cnn", arm="hybrid-muon", seed=3, steps=2500, recipe=recipe)
    assert (plain.key, other.key) == ("mlp-baseline-n100-s0-cd28095aa4", "cnn-hybrid-muon-n2500-s3-038c2fbefc")
    attached = dataclasses.replace(plain, recipe=Recipe(loop="attached"))
    assert attached.key != plain.key
    assert Cell.from_document(dataclasses.asdict(attached)) == attached


def test_a_loss_scale_is_refused() -> None:
    """A loop by hand would have to scale its losses."""
    with pytest.raises(UsageError, match="fp16"):
        run("attached", dtype="fp16")


def test_a_loop_that_is_none_is_refused() -> None:
    """With the choices."""
    with pytest.raises(UsageError, match="choose from trainer, attached, silent"):
        Recipe(loop="mine")
