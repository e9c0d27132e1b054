"""Level, spread and trend of windows against closed forms, numpy and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.numerics.robust import (
    median,
    resistant_line,
    swing_growth,
    turning_point_score,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_median_equals_numpy(values: list[float]) -> None:
    """Same value as numpy's, even and odd lengths alike."""
    assert median(np.array(values)) == pytest.approx(float(np.median(values)), rel=1e-15, abs=1e-300)


def test_resistant_line_is_exact_on_a_line_and_unmoved_by_outliers() -> None:
    """Three wild points in a hundred leave slope and end of a straight line where they were."""
    values = 5.0 - 0.1 * np.arange(100.0)
    values[[10, 50, 97]] += 1e6
    line = resistant_line(values)
    assert line.slope == pytest.approx(-0.1, abs=0.002)
    assert line.end == pytest.approx(5.0 - 9.9, abs=0.1)


def test_spread_estimates_the_standard_deviation() -> None:
    """On 20 000 normal points with a trend the spread is sigma within 3 % (their standard error is 1 %)."""
    noise = 0.7 * np.random.default_rng(0).standard_normal(20_000)
    assert resistant_line(noise - 0.01 * np.arange(20_000)).spread == pytest.approx(0.7, rel=0.03)


def test_spread_without_an_upper_tail_is_the_median_deviation() -> None:
    """Minus an exponential variable: 1.4826 times its median absolute deviation, 0.4812."""
    values = -np.random.default_rng(0).standard_exponential(20_000)
    assert resistant_line(values).spread == pytest.approx(1.4826 * 0.4812, rel=0.03)


def test_turning_point_score_is_standard_for_independent_noise() -> None:
    """On 4 000 windows of heavy-tailed noise: mean 0 and variance 1, within 4 standard errors."""
    rng = np.random.default_rng(1)
    scores = [turning_point_score(rng.standard_t(3, 32)) for _ in range(4000)]
    assert np.mean(scores) == pytest.approx(0.0, abs=4 / np.sqrt(4000))
    assert np.var(scores) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 4000))


def test_turning_point_score_of_strict_alternation() -> None:
    """All n - 2 = 30 inner points turn: (30 - 20) / sqrt(483 / 90)."""
    values = np.array([1.0, -1.0] * 16)
    assert turning_point_score(values) == pytest.approx(10.0 / np.sqrt(483.0 / 90.0))


def test_swing_growth_of_a_geometric_alternation() -> None:
    """Swings that grow by q each step grow by q^m between halves of m steps."""
    values = np.cumsum(1.1 ** np.arange(1, 33) * np.array([1.0, -1.0] * 16))
    assert swing_growth(np.concatenate([[0.0], values])) == pytest.approx(1.1**16)
