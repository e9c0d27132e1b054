"""Which workloads, arms and cells a comparison consists of."""

import pytest

from hpt.compare.arms import ARMS, BASELINE, STANDARD, arms_of
from hpt.compare.cells import Recipe
from hpt.compare.suite import BUDGETS, ComparisonPlan, Task, tasks_of
from hpt.errors import UsageError
from hpt.predictors.registry import PREDICTORS

QUICK = BUDGETS["quick"]


def names(text: str | None, *, has_schedulefree: bool = False) -> list[str]:
    return [arm.name for arm in arms_of(text, STANDARD, has_schedulefree=has_schedulefree)]


def test_the_baseline_is_always_there_and_first() -> None:
    """Asked for or not."""
    assert names("frozen") == [BASELINE, "frozen"]
    assert names(None) == [BASELINE, *STANDARD]


def test_every_predictor_has_an_arm() -> None:
    """`all` holds each of them, under some name."""
    played = {ARMS[name].config.get("predictor", "rssm") for name in names("all")}
    assert played == set(PREDICTORS)


def test_schedulefree_is_there_only_where_it_is_installed() -> None:
    """Silently left out of `all`, refused by name."""
    assert "schedulefree" in names("all", has_schedulefree=True)
    assert "schedulefree" not in names("all")
    with pytest.raises(UsageError, match="not installed"):
        names("schedulefree")


def test_unknown_arms_are_refused_with_a_hint() -> None:
    """The nearest names."""
    with pytest.raises(UsageError, match="frozen"):
        names("frosen")


def test_workloads_take_their_length_from_the_budget_or_the_flag() -> None:
    """Own workloads need one."""
    assert tasks_of(None, QUICK) == list(QUICK.tasks)
    assert tasks_of("mlp, cnn=50,own.module:make=70", QUICK) == [
        next(task for task in QUICK.tasks if task.workload == "mlp"),
        Task("cnn", 50),
        Task("own.module:make", 70),
    ]


@pytest.mark.parametrize("text", ["mpl", "own.module:make", "mlp=0", "mlp=x", "mlp,mlp=5", ""])
def test_nonsense_workloads_are_refused(text: str) -> None:
    """Unknown length, bad length, twice, none."""
    with pytest.raises(UsageError, match="--workloads"):
        tasks_of(text, QUICK)


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
def test_budgets_run_baselines_on_both_sides_of_t(budget: object) -> None:
    """Below and above, T among them, and only arms that exist."""
    assert isinstance(budget, type(QUICK))
    assert 1.0 in budget.length_fracs
    assert min(budget.length_fracs) < 1.0 < max(budget.length_fracs)
    assert set(budget.arms) <= set(ARMS)


def test_cells_are_paired_by_seed() -> None:
    """Same seeds for baseline and methods at T, disjoint ones for calibrations, tuned settings for their arm alone."""
    arms = tuple(ARMS[name] for name in (BASELINE, "hybrid", "lr-x1.25", "planted"))
    plan = ComparisonPlan(tasks=(Task("mlp", 100),), arms=arms, seeds=(0, 1), length_fracs=(0.7, 1.0, 1.3))
    settings = {("mlp", BASELINE): Recipe(lr_factor=2.0), ("mlp", "hybrid"): Recipe(lr_factor=0.5)}
    cells = plan.cells(settings)
    found = {(cell.arm, cell.steps, cell.seed): cell.recipe.lr_factor for cell in cells}
    lengths = {(BASELINE, steps, seed): 2.0 for steps in (70, 100, 130) for seed in (0, 1)}
    methods = {("hybrid", 100, seed): 0.5 for seed in (0, 1)}
    controls = {("lr-x1.25", 100, seed): 2.5 for seed in (0, 1)}
    planted = {("planted", 130, seed): 2.0 for seed in (10_000, 10_001)}
    assert found == lengths | methods | controls | planted
    assert len({cell.key for cell in cells}) == len(cells)


def test_times_are_wanted_of_the_baseline_of_methods_and_of_the_arm_that_never_jumps() -> None:
    """The last one's wall-clock ratio is the trainer's own time; other controls are not timed."""
    arms = tuple(ARMS[name] for name in (BASELINE, "hybrid", "never", "frozen"))
    plan = ComparisonPlan(tasks=(Task("mlp", 100),), arms=arms, seeds=(0, 1), length_fracs=(0.7, 1.0))
    settings = {("mlp", BASELINE): Recipe(), ("mlp", "hybrid"): Recipe(lr_factor=0.5)}
    cells = plan.clocked_cells(settings, 1)
    assert [(cell.arm, cell.steps, cell.seed) for cell in cells] == [
        (BASELINE, 100, 0),
        ("hybrid", 100, 0),
        ("never", 100, 0),
    ]
    assert [cell.recipe.lr_factor for cell in cells] == [1.0, 0.5, 0.5]


def test_what_learning_must_beat_is_in_every_standard_comparison() -> None:
    """The fixed rule, the same trainer without its models, and no jump at all."""
    for name in ("standard", "full"):
        assert {"hybrid", "nesterov", "unlearned", "never"} <= set(BUDGETS[name].arms)
