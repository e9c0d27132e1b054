"""Cells as runs: the plain loop, recipes, divergence, read-outs."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from references.forking_prior import forking_prior

from hpt.compare.cells import Cell, CellResult, Recipe
from hpt.compare.recipes import WeightAverage
from hpt.compare.roster import ARMS
from hpt.compare.training import train_cell
from hpt.jump.policy import NONE, POLICIES
from hpt.workloads.cnn import TemplateCNN
from hpt.workloads.plain_loop import PlainLoop
from hpt.workloads.regression import Regression

CPU = torch.device("cpu")
STEPS, WARMUP = 80, 60


def run(recipe: Recipe, workload: str = "regression", steps: int = STEPS, arm: str = "test") -> CellResult:
    return train_cell(Cell(workload=workload, arm=arm, seed=1, steps=steps, recipe=recipe))


def test_the_baseline_is_the_loop_a_user_would_write() -> None:
    """Bit for bit, down to the validation loss."""
    workload = TemplateCNN(seed=1, device=CPU)
    loop = PlainLoop(workload, 20)
    for index in range(20):
        loop.step(workload.batch(index))
    assert run(Recipe(), "cnn", 20).final_loss == workload.validation_loss(loop.model)


def test_a_cell_repeats_to_the_last_bit() -> None:
    """With the default predictor and jumps, in cycles short enough for several of them."""
    recipe = ARMS["hybrid"].recipe(Recipe())
    recipe = dataclasses.replace(recipe, config=recipe.config | {"warmup_steps": WARMUP, "full_steps": 15})
    one, other = (run(recipe, steps=180) for _ in range(2))
    assert one.counters["jumps_accepted"] > 0
    assert (one.final_loss, one.curve, one.counters) == (other.final_loss, other.curve, other.counters)


def test_work_of_the_baseline_is_its_updates() -> None:
    """One forward and one backward each, and SGD's six operations on each of 33 weights."""
    found = run(Recipe())
    assert found.backwards == STEPS
    assert found.full_step_equivalents == pytest.approx(
        STEPS * (1 + found.counters["update_flops"] / found.counters["step_flops"])
    )
    assert found.counters["update_flops"] <= 6 * 33
    assert found.curve[-1][0] == found.full_step_equivalents


def test_a_diverged_run_is_a_result() -> None:
    """It has no loss, says why, and counts as infinitely bad; what its optimizer does is counted on a new one."""
    found = run(Recipe(lr_factor=1e30))
    assert (found.final_loss, found.diverged, found.loss) == (None, True, float("inf"))
    assert found.message is not None
    assert found.counters["update_flops"] == 4 * 33


def test_a_loss_far_above_chance_is_divergence_even_if_finite() -> None:
    """Growing without bound, but not yet out of the number format."""
    found = run(Recipe(lr_factor=3.0), steps=60)
    assert all(math.isfinite(loss) for _, loss in found.curve)
    assert found.curve[-1][1] > 100 * found.chance_loss
    assert found.diverged


def test_learning_rate_and_memory_of_the_recipe_reach_the_optimizer() -> None:
    """Momentum of SGD, beta2 of Adam; the peak is multiplied."""
    from hpt.compare.held_out import SealedWorkload
    from hpt.compare.recipes import make_optimizers

    for workload in (Regression(seed=0, device=CPU), TemplateCNN(seed=0, device=CPU)):
        sealed = SealedWorkload(workload)
        model = sealed.build_model()
        before = sealed.build_optimizer(model).param_groups[0]
        after = make_optimizers(Recipe(lr_factor=2.0, memory=0.9), sealed, model, STEPS)[0].param_groups[0]
        assert after["lr"] == 2.0 * before["lr"]
        assert after["betas"] == (before["betas"][0], 0.9) if "betas" in after else after["momentum"] == 0.9


def test_average_of_weights_by_hand() -> None:
    """A <- d a + (1 - d) w after every update."""
    model = torch.nn.Linear(1, 1, bias=False)
    weight = model.weight
    with torch.no_grad():
        weight.fill_(1.0)
        average = WeightAverage(model, 0.75)
        for value in (2.0, 4.0):
            weight.fill_(value)
            average.update()
    average.install()
    assert weight.item() == 0.75 * (0.75 * 1.0 + 0.25 * 2.0) + 0.25 * 4.0


def test_read_out_changes_the_loss_and_not_the_run() -> None:
    """The training curve is the same, the final loss is the average's."""
    plain, averaged = run(Recipe()), run(Recipe(ema_decay=0.9))
    assert plain.curve == averaged.curve
    assert plain.final_loss != averaged.final_loss


def test_the_arm_that_never_jumps_is_the_baseline() -> None:
    """It observes, learns and forecasts, and ends in the same weights at the same work, to the last bit."""
    recipe = ARMS["never"].recipe(Recipe())
    never = run(dataclasses.replace(recipe, config=recipe.config | {"full_steps": 15}), "mlp", 150)
    plain = run(Recipe(), "mlp", 150)
    assert (never.final_loss, never.curve) == (plain.final_loss, plain.curve)
    assert never.counters["jumps_accepted"] == 0
    assert never.full_step_equivalents == plain.full_step_equivalents
    assert never.scores is not None
    assert plain.scores is None


def forked(arm: str, steps: int = 240, **config: Any) -> CellResult:
    """A cell that begins with a wide prior, in short cycles, with as large a budget as there is for forks."""
    recipe = ARMS[arm].recipe(Recipe())
    short = {"warmup_steps": WARMUP, "full_steps": 15, "gate": "always", "value": {"fork_budget_frac": 0.5}}
    return run(dataclasses.replace(recipe, config=short | recipe.config | config), "mlp", steps)


def test_what_was_measured_and_decided_is_kept_with_a_cell(tmp_path: Path) -> None:
    """A row for every fork, a measurement of each, and decisions of which the first one after a fork names it."""
    with forking_prior(tmp_path):
        found = forked("hybrid")
    assert found.values is not None
    measurements, decisions = (found.values[name] for name in ("measurements", "decisions"))
    assert [(one["step"], one["policy"], one["value"]) for one in found.forks] == [
        (one["step"], one["policy"], one["value"]) for one in measurements
    ]
    first = found.forks[0]
    assert first["step"] >= WARMUP
    assert math.isfinite(first["value"])
    after = next(one for one in decisions if one["step"] == first["step"])
    assert f"fork at update {first['step']}: {first['policy']}" in after["why"]
    assert after["policy"] in {NONE, *POLICIES}


def test_an_arm_without_forks_decides_by_its_prior(tmp_path: Path) -> None:
    """The same prior, by which `full-kept` is worth a little, and no branch is lost over it."""
    with forking_prior(tmp_path):
        found = forked("no-forks")
    assert found.forks == []
    assert found.values is not None
    assert [one["policy"] for one in found.values["decisions"]] == ["full-kept"]
    assert found.counters["jumps_accepted"] > 0


def test_arms_of_a_fixed_policy_choose_nothing_and_differ() -> None:
    """There is neither fork nor decision, and every policy ends elsewhere."""
    arms = ("nesterov", "always-half", "always-half-kept", "always-full-kept")
    cells = [forked(arm, steps=140) for arm in arms]
    assert all((one.forks, one.values) == ([], None) for one in cells)
    assert all(one.counters["jumps_accepted"] > 0 for one in cells)
    assert len({one.final_loss for one in cells}) == len(arms)


def test_without_learning_all_forecasters_are_the_constant() -> None:
    """The control of the forecasts: models that never learned have nothing to add."""
    recipe = ARMS["unlearned"].recipe(Recipe())
    config = recipe.config | {"warmup_steps": WARMUP, "full_steps": 15}
    found = run(dataclasses.replace(recipe, config=config), "mlp", 180)
    assert found.scores is not None
    assert found.scores["constant"]["count"] > 0
    assert found.scores["rssm"]["nll_mean"] == found.scores["constant"]["nll_mean"]
