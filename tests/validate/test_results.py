"""Slopes and their intervals: tables, closed forms, and honesty about dependence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.validate.results import slope_of


@given(slope=st.floats(-1e6, 1e6), level=st.floats(-1e9, 1e9))
def test_a_straight_line_has_its_slope_and_no_doubt(slope: float, level: float) -> None:
    """Any line through whole steps is found; rounding leaves an interval of that size only."""
    found = slope_of(range(20), [level + slope * step for step in range(20)])
    assert found is not None
    slack = 1e-9 * (abs(level) + abs(slope) + 1.0)
    assert found.per_step == pytest.approx(slope, abs=slack)
    assert found.high - found.low <= 10 * slack


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Independent noise, 400 series: the true slope of 3 lies within 95 % intervals in 92 to 99 % of them."""
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        found = slope_of(range(30), (3.0 * np.arange(30) + generator.normal(size=30)).tolist())
        assert found is not None
        inside += found.low <= 3.0 <= found.high
    assert 0.92 <= inside / 400 <= 0.99


def test_a_wandering_series_gets_a_wider_interval_than_independent_noise() -> None:
    """Residuals that follow one another say less: an AR(1) series of the same variance is at least twice as unsure."""
    generator = np.random.default_rng(1)
    noise = generator.normal(size=60)
    wandering = np.zeros(60)
    for step in range(1, 60):
        wandering[step] = 0.9 * wandering[step - 1] + noise[step]
    wandering *= noise.std() / wandering.std()
    independent, dependent = slope_of(range(60), noise.tolist()), slope_of(range(60), wandering.tolist())
    assert independent is not None
    assert dependent is not None
    assert dependent.high - dependent.low > 2 * (independent.high - independent.low)


def test_few_steps_give_no_slope() -> None:
    """Seven like steps are not judged."""
    assert slope_of(range(7), range(7)) is None
