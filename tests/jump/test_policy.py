"""A policy is a share of a preset's jump, with the matrices' norms free or kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE, NUM_POLICIES, POLICIES, Policy


@pytest.mark.parametrize(
    ("name", "pull_back", "gain", "keeps_norm"),
    [
        ("quarter", 0.125, 0.5, False),
        ("quarter-kept", 0.125, 0.5, True),
        ("half", 0.25, 1.0, False),
        ("half-kept", 0.25, 1.0, True),
        ("full", 0.5, 2.0, False),
        ("full-kept", 0.5, 2.0, True),
    ],
)
def test_what_each_makes_of_a_delta(name: str, pull_back: float, gain: float, keeps_norm: bool) -> None:
    """A quarter, half or all of pull-back and gain; direction, scale and all else stay the preset's."""
    full = WeightDelta(0.5, 2.0, 0.8, orthogonal=True)
    expected = WeightDelta(pull_back, gain, 0.8, orthogonal=True, keeps_norm=keeps_norm)
    assert POLICIES[name].delta(full) == expected


def test_names_are_those_of_the_table_and_no_jump_is_none_of_them() -> None:
    """Six policies by their own names; what is always a choice, too, needs no delta."""
    assert [one.name for one in POLICIES.values()] == list(POLICIES)
    assert NUM_POLICIES == len(POLICIES) == 6
    assert NONE not in POLICIES


@given(frac=st.floats(0.0, 1.0), pull_back=st.floats(-2.0, 2.0), gain=st.floats(-5.0, 5.0), steps=st.integers(2, 200))
def test_a_share_of_a_jump_stands_for_that_share_of_the_steps(
    frac: float, pull_back: float, gain: float, steps: int
) -> None:
    """(gain - pull-back) K is linear in the share; whether norms are kept changes neither."""
    full = WeightDelta(pull_back, gain, 0.8)
    made = {keeps: Policy("any", frac, keeps_norm=keeps).delta(full) for keeps in (False, True)}
    assert made[True] == replace(made[False], keeps_norm=True)
    assert made[True].horizon(steps) == max(1, round((frac * gain - frac * pull_back) * steps))
