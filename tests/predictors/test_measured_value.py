"""What a fork says of a policy: mean and standard error of paired differences, and when it says nothing."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.predictors.protocol import ForkRequest, MeasuredValue

GAINS = st.lists(st.floats(-10.0, 10.0), min_size=2, max_size=80)


@given(gains=GAINS, num_jumps=st.integers(1, 6), settle_steps=st.integers(0, 80))
def test_value_and_error_are_those_of_the_last_half_of_settling(
    gains: list[float], num_jumps: int, settle_steps: int
) -> None:
    """Mean and standard error of the mean by numpy, over at least two steps, a jump's share of both."""
    one = MeasuredValue(tuple(gains), num_jumps, settle_steps)
    settled = np.array(gains)[-max(2, round(settle_steps / 2)) :]
    assert one.value == pytest.approx(settled.mean() / num_jumps, rel=1e-9, abs=1e-12)
    expected = settled.std(ddof=1) / np.sqrt(len(settled)) / num_jumps
    assert one.value_se == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert not one.is_broken


@given(gains=GAINS, place=st.integers(0, 79), odd=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_one_number_that_is_none_breaks_the_branch(gains: list[float], place: int, odd: float) -> None:
    """Anywhere in it, also before it settled: minus infinity, without any doubt."""
    gains[place % len(gains)] = odd
    one = MeasuredValue(tuple(gains), 2, 20)
    assert (one.is_broken, one.value, one.value_se) == (True, -math.inf, 0.0)


def test_a_branch_without_steps_is_broken() -> None:
    """An update of it was refused."""
    one = MeasuredValue((), 2, 20)
    assert (one.is_broken, one.value, one.value_se) == (True, -math.inf, 0.0)


@pytest.mark.parametrize(
    ("settings", "steps", "work"),
    [(((), 1, 20), 30, 0), ((("half",), 1, 20), 30, 30), ((("half", "full", "full-kept"), 6, 60), 120, 360)],
)
def test_what_a_fork_costs_is_known_before(settings: tuple[Any, ...], steps: int, work: int) -> None:
    """Cycles of ten and the settling time in each branch; all branches but the one that goes on are extra."""
    request = ForkRequest(*settings)
    assert (request.num_steps(10), request.work(10)) == (steps, work)
