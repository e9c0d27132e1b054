"""Robust statistics agree with the plain ones on tame data and ignore wild data."""

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.numerics.robust import median, median_absolute_deviation, robust_z


@settings(max_examples=50)
@given(numbers=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_median_is_the_median(numbers: list[float]) -> None:
    """Selection gives the standard library's median, for odd and even counts."""
    assert median(np.array(numbers)) == statistics.median(numbers)


def test_mad_of_normal_quantiles_is_their_standard_deviation() -> None:
    """On evenly spaced quantiles of N(5, 3) the scaled MAD is 3: the factor 1.4826 is right."""
    normal = statistics.NormalDist(5.0, 3.0)
    numbers = np.array([normal.inv_cdf((place + 0.5) / 2001) for place in range(2001)])
    assert median_absolute_deviation(numbers) == pytest.approx(3.0, rel=1e-3)  # 2001 points resolve 1e-3


@settings(max_examples=30)
@given(wild=st.floats(10.0, 1e12))
def test_a_wild_number_cannot_hide_itself(wild: float) -> None:
    """However large one number among nine is, the score of a deviation of 10 stays what it is without it."""
    tame = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    with_wild = np.append(tame, wild)
    assert robust_z(15.0, with_wild) == robust_z(15.0, np.append(tame, 10.0))


def test_score_is_in_standard_deviations() -> None:
    """Median 3, absolute deviations 2 1 0 1 2 with median 1: a number at 6 scores 3 / 1.4826."""
    assert robust_z(6.0, np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(3 / 1.482602218505602, rel=1e-12)


@pytest.mark.parametrize(("level", "floor"), [(0.0, 2.2250738585072014e-308), (4.0, 4e-12)])
def test_equal_numbers_give_finite_scores(level: float, floor: float) -> None:
    """Without any spread the unit is 1e-12 of the level, or the least normal double; scores are large but finite."""
    numbers = np.full(5, level)
    assert robust_z(level, numbers) == 0.0
    score = robust_z(level + 1e-3, numbers)
    assert score == pytest.approx(1e-3 / floor, rel=1e-9)
    assert np.isfinite(score)
