"""The choice of the arm: by what is said of every arm, or by the bandit that is paid in measured value."""

import numpy as np
import pytest

from hpt.config import HybridConfig
from hpt.jump.stats import CycleStats
from hpt.predictors.registry import build_predictor
from hpt.predictors.value_scores import RUNNING_MEAN, ArmBandit, ValueScores

BASE = 1
SAID = {"model": (np.array([0.4, 0.1, 0.3]), np.array([0.35, 0.01, 0.05]))}


def after(measured: list[float], said: tuple[float, float]) -> ValueScores:
    values = ValueScores(BASE, 0.97, 0.02)
    for value in measured:
        values.score({"model": said}, value)
    return values


def test_base_arm_until_three_values_however_good_the_model() -> None:
    """Two values are not evidence enough to leave the base arm."""
    choice = after([0.3, 0.3], (0.3, 0.01)).choose(SAID)
    assert choice.arm == BASE


def test_a_model_that_leads_plays_the_largest_lower_bound() -> None:
    """The lower bounds are .05, .09, .25: the third arm, although the first has the largest mean."""
    choice = after([0.3, 0.3, 0.3], (0.3, 0.01)).choose(SAID)
    assert choice.arm == 2
    assert (choice.mean, choice.lower) == pytest.approx((0.3, 0.25))


def test_none_when_no_lower_bound_is_above_zero() -> None:
    """What is not surely values something is not done."""
    unsure = {"model": (np.array([0.4, 0.1, 0.3]), np.array([0.4, 0.2, 0.5]))}
    assert after([0.3, 0.3, 0.3], (0.3, 0.01)).choose(unsure).arm is None


def test_a_model_that_is_wrong_does_not_choose() -> None:
    """Confident and wrong scores worse than the running mean."""
    values = after([0.3, 0.3, 0.3, 0.3], (-0.3, 0.01))
    assert values.leader(("model",)) == RUNNING_MEAN
    assert values.choose(SAID).arm == BASE


def test_without_a_leading_model_clear_losses_still_end_jumping() -> None:
    """The running mean's upper bound below zero is the run's own evidence against the base."""
    assert after([-0.3] * 4, (0.3, 0.01)).choose(SAID).arm is None
    assert after([0.3, -0.3, 0.3, -0.3], (1.0, 0.01)).choose(SAID).arm == BASE


def test_a_branch_that_blew_up_counts_as_five_units() -> None:
    """One absurd value does not decide a run."""
    assert after([], (0.0, 1.0)).score({}, -1e9) == -5.0


NAMES = ("slow", "base", "fast")


def at(progress: float) -> CycleStats:
    return CycleStats(5, 100, 10, progress, 1.0, 0.8, np.ones((1, 2, 2)), np.zeros(1), np.zeros(1), np.ones(1))


def mean_reward(bandit: ArmBandit | None, rounds: int = 120) -> float:
    """Planted: early the fast arm saves loss, late no jump costs least; values are noisy."""
    noise = np.random.default_rng(0).normal(0.0, 0.2, rounds)
    total = 0.0
    for index in range(rounds):
        progress = (index * 37 % rounds) / rounds
        worth = {0: 0.0, 1: 0.3 - 0.6 * progress, 2: 1.0 - 2.0 * progress}
        arm = 1 if bandit is None else bandit.choose(at(progress)).arm
        value = 0.0 if arm is None else worth[arm] + float(noise[index])
        if bandit is not None and arm is not None:
            bandit.observe(arm, value)
        total += value
    return total / rounds


def test_the_base_arm_plays_until_a_value_is_known() -> None:
    """Without any measured value the preset acts, at any point of the run."""
    bandit = ArmBandit(NAMES, base_arm=1)
    assert [bandit.choose(at(progress)).arm for progress in (0.1, 0.5, 0.9)] == [1, 1, 1]


def test_it_earns_more_than_the_base_where_the_best_arm_changes() -> None:
    """On the planted problem its mean reward is at least three times the base arm's."""
    assert mean_reward(ArmBandit(NAMES, base_arm=1)) > max(0.15, 3.0 * mean_reward(None))


def test_state_round_trip_chooses_the_same() -> None:
    """After loading, choices and rewards continue identically."""
    first, second = ArmBandit(NAMES, 1), ArmBandit(NAMES, 1)
    mean_reward(first, 20)
    second.load_state_dict(first.state_dict())
    assert mean_reward(first, 40) == mean_reward(second, 40)


def test_the_learned_predictors_use_it_only_when_switched_on() -> None:
    """`learner.bandit` puts the bandit's state into the predictor's; off by default."""
    for wanted in (False, True):
        config = HybridConfig.from_dict({"predictor": "ridge", "learner": {"bandit": True} if wanted else {}})
        predictor = build_predictor(config)
        assert (predictor.state_dict()["bandit"] is not None) is wanted
