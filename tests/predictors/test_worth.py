"""The choice of the arm, given what is said of every arm."""

import numpy as np
import pytest

from hpt.predictors.worth import RUNNING_MEAN, Worth

BASE = 1
SAID = {"model": (np.array([0.4, 0.1, 0.3]), np.array([0.35, 0.01, 0.05]))}


def after(values: list[float], said: tuple[float, float]) -> Worth:
    worth = Worth(BASE, 0.97, 0.02)
    for value in values:
        worth.score({"model": said}, value)
    return worth


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
    """What is not surely worth something is not done."""
    unsure = {"model": (np.array([0.4, 0.1, 0.3]), np.array([0.4, 0.2, 0.5]))}
    assert after([0.3, 0.3, 0.3], (0.3, 0.01)).choose(unsure).arm is None


def test_a_model_that_is_wrong_does_not_choose() -> None:
    """Confident and wrong scores worse than the running mean."""
    worth = after([0.3, 0.3, 0.3, 0.3], (-0.3, 0.01))
    assert worth.leader(("model",)) == RUNNING_MEAN
    assert worth.choose(SAID).arm == BASE


def test_without_a_leading_model_clear_losses_still_end_jumping() -> None:
    """The running mean's upper bound below zero is the run's own evidence against the base."""
    assert after([-0.3] * 4, (0.3, 0.01)).choose(SAID).arm is None
    assert after([0.3, -0.3, 0.3, -0.3], (1.0, 0.01)).choose(SAID).arm == BASE


def test_a_branch_that_blew_up_counts_as_five_units() -> None:
    """One absurd value does not decide a run."""
    assert after([], (0.0, 1.0)).score({}, -1e9) == -5.0
