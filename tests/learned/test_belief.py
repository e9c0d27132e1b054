"""Beliefs about the policies' worth against the closed forms of the normal distribution."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from hpt.history import FloatArray
from hpt.learned.belief import Belief, normal_cdf

SIZE = 4


@st.composite
def beliefs(draw: st.DrawFn) -> Belief:
    """Any mean, and a covariance of full rank."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    root = rng.normal(size=(SIZE, SIZE))
    return Belief(rng.normal(size=SIZE), 0.1 * root @ root.T + 0.01 * np.eye(SIZE))


def test_sd_and_probability_are_those_of_one_normal() -> None:
    """Mean 0.3 with variance 0.04: sd 0.2, and 1.5 of them above nothing."""
    belief = Belief(np.array([0.3, -0.1]), np.array([[0.04, 0.01], [0.01, 0.25]]))
    assert belief.sd(0) == pytest.approx(0.2)
    assert belief.probability_positive(0) == pytest.approx(norm.cdf(1.5))
    assert belief.probability_positive(1) == pytest.approx(norm.cdf(-0.2))


@pytest.mark.parametrize(("mean", "expected"), [(0.1, 1.0), (-0.1, 0.0), (0.0, 0.5)])
def test_certainty_is_no_division_by_zero(mean: float, expected: float) -> None:
    """A variance of 0, or one that rounding took below it, leaves the sign of the mean."""
    for variance in (0.0, -1e-18):
        assert Belief(np.array([mean]), np.array([[variance]])).probability_positive(0) == expected


@given(z=st.floats(-30.0, 30.0))
def test_the_distribution_function_is_scipys(z: float) -> None:
    """Far into the tail, too, where 1 - erf would be 0."""
    assert normal_cdf(z) == pytest.approx(norm.cdf(z), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(belief=beliefs(), place=st.integers(0, SIZE - 1), measured=st.floats(-2.0, 2.0), variance=st.floats(1e-3, 10.0))
def test_a_measurement_adds_its_precision(belief: Belief, place: int, measured: float, variance: float) -> None:
    """Conditioning equals adding precisions: 1 / variance on the diagonal, measured / variance to the weighted mean."""
    after = belief.revised(place, measured, variance)
    precision = np.linalg.inv(belief.covariance)
    weighted: FloatArray = precision @ belief.mean
    precision[place, place] += 1.0 / variance
    weighted[place] += measured / variance
    np.testing.assert_allclose(after.covariance, np.linalg.inv(precision), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(after.mean, np.linalg.solve(precision, weighted), rtol=1e-6, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(belief=beliefs(), place=st.integers(0, SIZE - 1), variance=st.floats(1e-3, 10.0))
def test_the_spread_is_what_a_measurement_takes_from_the_covariance(
    belief: Belief, place: int, variance: float
) -> None:
    """Law of total variance: the means to come scatter by s s', which is what the covariance loses."""
    spread = belief.spread(place, variance)
    lost = belief.covariance - belief.revised(place, 0.0, variance).covariance
    np.testing.assert_allclose(np.outer(spread, spread), lost, rtol=1e-9, atol=1e-12)
    assert spread[place] > 0.0


def test_an_exact_measurement_settles_one_policy() -> None:
    """With no error the mean is what was measured and nothing is left to know of it."""
    belief = Belief(np.zeros(2), np.array([[0.04, 0.03], [0.03, 0.09]])).revised(0, 0.1, 0.0)
    assert belief.mean[0] == pytest.approx(0.1)
    assert belief.mean[1] == pytest.approx(0.1 * 0.03 / 0.04)
    assert belief.sd(0) == pytest.approx(0.0, abs=1e-6)
    assert belief.sd(1) == pytest.approx(math.sqrt(0.09 - 0.03**2 / 0.04))
