"""The default beside every fixed policy and window: how far it falls short, and of a best that nobody chose by luck."""

import math
from typing import Any

import pytest

from hpt_reports.pages.sweep import Sweep, sweep_table, sweep_verdict, sweeps


def document(fixed: dict[str, list[float]], early: dict[str, float], default: dict[str, float]) -> dict[str, Any]:
    """Two policies by seed, one to half of the run, and the default; log work ratios."""
    row: dict[str, Any] = {"workload": "mlp", "optimizer": "adamw", "worth_by_seed": fixed}
    row["arms_by_seed"] = {seed: {"half-until0.5": early[seed], "default": default[seed]} for seed in fixed}
    return {"policies": ["half", "full"], "worth": [row]}


def only(stored: dict[str, Any]) -> Sweep:
    (found,) = sweeps(stored)
    return found


def test_the_best_is_that_of_the_mean_over_seeds() -> None:
    """`full` has 0.2 and 0.4, more than the early window's 0.5 and 0.0; the default's mean is 0.1 below it."""
    found = only(document({"0": [0.1, 0.2], "1": [0.1, 0.4]}, {"0": 0.5, "1": 0.0}, {"0": 0.1, "1": 0.3}))
    assert found.best == "full"
    assert found.shortfall == pytest.approx(0.1)
    assert not found.is_near


def test_the_best_of_other_seeds_is_chosen_without_the_one_it_is_judged_on() -> None:
    """Seed 0 is judged by seed 1's best, `full` (0.2 there), seed 1 by seed 0's, the early window (0.0 there)."""
    found = only(document({"0": [0.1, 0.2], "1": [0.1, 0.4]}, {"0": 0.5, "1": 0.0}, {"0": 0.1, "1": 0.3}))
    assert found.foretold_shortfall == pytest.approx(((0.2 - 0.1) + (0.0 - 0.3)) / 2)


def test_no_jumps_are_a_fixed_policy() -> None:
    """Where every policy loses the best is none, worth exactly 0, and a default that does not jump meets it."""
    found = only(document({"0": [-0.1, -0.2]}, {"0": -0.3}, {"0": 0.0}))
    assert (found.best, found.shortfall, found.is_near) == ("none", 0.0, True)
    assert found.foretold_shortfall is None


@pytest.mark.parametrize(("default", "is_near"), [(0.2 + math.log(0.971), True), (0.2 + math.log(0.969), False)])
def test_near_is_three_percent_of_the_work(default: float, is_near: bool) -> None:
    """0.97 times the best's work ratio, and no less."""
    assert only(document({"0": [0.0, 0.2]}, {"0": 0.0}, {"0": default})).is_near is is_near


def test_a_setting_without_other_windows_is_no_sweep() -> None:
    """The default alone, or windows without the default, tell nothing of it."""
    stored = document({"0": [0.1, 0.2]}, {"0": 0.0}, {"0": 0.0})
    (row,) = stored["worth"]
    for arms in ({"0": {"default": 0.1}}, {"0": {"half-until0.5": 0.1}}, {"0": {}}, {}):
        assert not list(sweeps(stored | {"worth": [row | {"arms_by_seed": arms}]}))


def test_the_table_shows_ratios_and_the_verdict_counts() -> None:
    """Log 1.1 of the default, log 1.21 of the best: 0.909 of it, so none of one is near."""
    found = [only(document({"0": [0.0, math.log(1.21)]}, {"0": 0.0}, {"0": math.log(1.1)}))]
    shown = sweep_table(found, "[runs](policies.json)")
    assert " 1.10x |" in shown
    assert "full, 1.21x" in shown
    assert "0.909x" in shown
    assert "0 of 1" in sweep_verdict(found, "[runs](policies.json)")
