"""Which workloads, arms and cells a comparison consists of."""

import pytest

from hpt.compare.arms import BASELINE
from hpt.compare.roster import ARMS, STANDARD, arms_of
from hpt.compare.suite import BUDGETS, Task, tasks_of
from hpt.errors import UsageError
from hpt.predictors.registry import PREDICTORS

QUICK = BUDGETS["quick"]


def names(text: str | None) -> list[str]:
    return [arm.name for arm in arms_of(text, STANDARD)]


def test_the_baseline_is_always_there_and_first() -> None:
    """Asked for or not."""
    assert names("frozen") == [BASELINE, "frozen"]
    assert names(None) == [BASELINE, *STANDARD]


def test_every_predictor_has_an_arm() -> None:
    """`all` holds each of them, under some name."""
    played = {ARMS[name].config.get("predictor", "rssm") for name in names("all")}
    assert played == set(PREDICTORS)


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


def test_what_learning_must_beat_is_in_every_standard_comparison() -> None:
    """The fixed rule, the same trainer without its models, and no jump at all."""
    for name in ("standard", "full"):
        assert {"hybrid", "nesterov", "unlearned", "never"} <= set(BUDGETS[name].arms)
