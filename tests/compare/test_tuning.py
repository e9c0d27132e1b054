"""The search on losses in closed form: it finds the optimum, closes the bracket, and spends what it is given."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpt.compare.cells import Recipe
from hpt.compare.plan import ComparisonPlan
from hpt.compare.roster import ARMS
from hpt.compare.search import NUM_FINALISTS, NUM_TRIALS, Search, Trial, Tuned
from hpt.compare.suite import Task
from hpt.compare.tuning import TuningCache, trial_cell

Loss = Callable[[Recipe], float]


def searched(loss: Loss, second_loss: Loss | None = None) -> Tuned:
    """What a search finds; on the second seed as on the first unless said otherwise."""
    search = Search()
    while asked := search.ask():
        losses = {False: loss, True: second_loss or loss}
        search.tell([losses[trial.is_playoff](trial.recipe) for trial in asked])
    return search.outcome()


def bowl(best_factor: float, **better: float) -> Loss:
    """A parabola in log(learning rate), lowered by choices of shape or memory."""

    def loss(recipe: Recipe) -> float:
        gain = better.get(recipe.shape, 0.0) + (better.get("memory", 0.0) if recipe.memory else 0.0)
        return 1.0 + math.log(recipe.lr_factor / best_factor) ** 2 - gain

    return loss


@pytest.mark.parametrize("best", [1.0, 0.5, 2.0, 4.0, 0.2])
def test_the_best_rate_is_found_and_bracketed(best: float) -> None:
    """Wherever it lies within reach of the trials, even beyond the first five rates."""
    found = searched(bowl(best))
    assert found.bracket_closed
    assert found.recipe.lr_factor == pytest.approx(best, rel=0.2)


@pytest.mark.parametrize("best", [1.0, 4.0, 300.0])
def test_every_search_spends_the_same_number_of_trials(best: float) -> None:
    """No arm gets more, none fewer."""
    assert len(searched(bowl(best)).trials) == NUM_TRIALS


def test_an_optimum_out_of_reach_leaves_the_bracket_open() -> None:
    """And says so."""
    assert searched(bowl(300.0)).bracket_closed is False


@pytest.mark.parametrize("choice", ["cosine", "wsd"])
def test_the_better_shape_wins(choice: str) -> None:
    """At the best rate."""
    assert searched(bowl(1.0, **{choice: 0.1})).recipe.shape == choice


def test_the_better_memory_wins() -> None:
    """Of the optimizer's longest average."""
    assert searched(bowl(1.0, memory=0.1)).recipe.memory is not None


def test_diverged_trials_count_as_the_worst() -> None:
    """Everything above the workload's own rate diverges: the bracket is closed by them."""
    found = searched(lambda recipe: math.inf if recipe.lr_factor > 1.01 else 2.0 - recipe.lr_factor)
    assert found.recipe.lr_factor == pytest.approx(1.0, abs=0.01)
    assert found.bracket_closed
    assert None in [trial["loss"] for trial in found.trials]


def test_the_playoff_corrects_a_lucky_trial() -> None:
    """Nine trials find cosine better by .3 by luck; on the second seed it is worse by .4, so the mean is worse."""
    found = searched(bowl(1.0, cosine=0.3), bowl(1.0, cosine=-0.4))
    assert found.recipe.shape != "cosine"
    assert found.recipe.lr_factor == pytest.approx(1.0)
    by_seconds = [trial for trial in found.trials if "second_loss" in trial]
    assert len(by_seconds) == NUM_FINALISTS
    assert {trial["shape"] for trial in by_seconds} == {"linear", "cosine", "wsd"}


def test_what_was_not_among_the_best_cannot_win_the_playoff() -> None:
    """A recipe of one run only, however good its one loss looks beside the means of two."""
    found = searched(bowl(1.0), lambda recipe: 100.0 + abs(math.log(recipe.lr_factor)))
    assert found.recipe.lr_factor == pytest.approx(1.0)


def test_a_finalist_that_diverges_in_the_playoff_does_not_win() -> None:
    """The best of the first seed diverges on the second."""
    found = searched(bowl(1.0, cosine=0.1), lambda recipe: math.inf if recipe.shape == "cosine" else 1.0)
    assert found.recipe.shape != "cosine"
    assert [trial["second_loss"] for trial in found.trials if trial["shape"] == "cosine"] == [None]


def plan(**changes: Any) -> ComparisonPlan:
    values: dict[str, Any] = {"tasks": (Task("mlp", 100),), "arms": (ARMS["baseline"],), "seeds": (0, 1)}
    values["length_fracs"] = (0.7, 1.0)
    values.update(changes)
    return ComparisonPlan(**values)


def test_outcomes_are_cached_by_all_that_decides_them(tmp_path: Path) -> None:
    """Another length, device or arm is another search; another number of seeds is not."""
    cache, arm = TuningCache(tmp_path / "cache"), ARMS["baseline"]
    task, tuned = Task("mlp", 100), searched(bowl(1.0))
    cache.store(plan(), task, arm, tuned)
    again = cache.load(plan(seeds=(5, 6, 7)), task, arm)
    assert again is not None
    assert (again.recipe, again.trials, again.source) == (tuned.recipe, tuned.trials, "tuned")
    assert cache.load(plan(), Task("mlp", 101), arm) is None
    assert cache.load(plan(threads=2), task, arm) is None
    assert cache.load(plan(), task, ARMS["hybrid"]) is None


def test_trials_run_on_a_seed_that_is_never_reported() -> None:
    """Disjoint from every pair's seed and from those of the calibrations."""
    calibration = ARMS["self"]
    reported = {arm.trained_seed(seed) for arm in (ARMS["baseline"], calibration) for seed in range(5000)}
    seeds: set[int] = set()
    for is_playoff in (False, True):
        trial = Trial(Recipe(lr_factor=2.0), is_playoff)
        cell = trial_cell(plan(), Task("mlp", 100), ARMS["hybrid"], trial)
        assert (cell.recipe.lr_factor, cell.recipe.config) == (2.0, {})
        seeds.add(cell.seed)
    assert len(seeds) == 2
    assert not seeds & reported
