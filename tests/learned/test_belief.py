"""What is believed of the policies' worth: conditioning by other formulas, and stated rates by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references.beliefs import NUM, belief_of, beliefs
from scipy.stats import norm

from hpt.control.value import Prospect, fork_value
from hpt.history import FloatArray
from hpt.learned.belief import Belief, normal_cdf


@given(belief=beliefs(), place=st.integers(0, NUM - 1), measured=st.floats(-1, 1), variance=st.floats(1e-4, 1.0))
def test_a_measurement_revises_by_conditioning(belief: Belief, place: int, measured: float, variance: float) -> None:
    """Against the precision form: inverse(inverse(S) + h h' / v), and the mean weighted by precisions."""
    direction = np.eye(NUM)[place]
    precision = np.linalg.inv(belief.covariance)
    covariance = np.linalg.inv(precision + np.outer(direction, direction) / variance)
    mean = covariance @ (precision @ belief.mean + direction * measured / variance)
    revised = belief.revised(place, measured, variance)
    np.testing.assert_allclose(revised.covariance, covariance, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(revised.mean, mean, rtol=1e-5, atol=1e-7)


@given(belief=beliefs(), place=st.integers(0, NUM - 1), variance=st.floats(1e-4, 1.0))
def test_spreads_are_the_standard_deviations_of_the_revised_means(belief: Belief, place: int, variance: float) -> None:
    """What a measurement takes from the covariance, it gives to the means: S = S' + s s'."""
    spread = belief.spread(place, variance)
    left = belief.revised(place, 0.3, variance).covariance
    np.testing.assert_allclose(left + np.outer(spread, spread), belief.covariance, rtol=1e-6, atol=1e-9)


@given(belief=beliefs(), places=st.permutations(range(NUM)))
def test_the_order_of_measurements_does_not_matter(belief: Belief, places: list[int]) -> None:
    """Two policies measured, either first."""
    first, second = (places[0], 0.2, 0.05), (places[1], -0.1, 0.01)
    one, other = belief.revised(*first).revised(*second), belief.revised(*second).revised(*first)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-6, atol=1e-9)


def simulated(mean: float, sd: float, error: float, num: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """True worths, and what the belief's mean is after one fork over each."""
    draw = np.random.default_rng(seed)
    worths = mean + sd * draw.standard_normal(num)
    belief = belief_of(mean, sd)
    revised = [
        belief.revised(0, worth + error * noise, error**2).mean[0]
        for worth, noise in zip(worths, draw.standard_normal(num), strict=True)
    ]
    return worths, np.array(revised)


@pytest.mark.parametrize(("sd", "error"), [(0.2, 0.05), (0.2, 0.2), (0.1, 0.4)])
def test_signs_are_told_apart_at_the_stated_rate(sd: float, error: float) -> None:
    """The share of wrong signs over many runs is arccos(r) / pi, r the correlation of worth and measurement."""
    num = 20_000
    worths, means = simulated(0.0, sd, error, num)
    expected = math.acos(sd / math.hypot(sd, error)) / math.pi
    wrong = float((np.sign(worths) != np.sign(means)).mean())
    assert abs(wrong - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / num)


def test_probabilities_of_a_gain_are_calibrated() -> None:
    """Of runs whose revised belief says p, a share p is worth something; the value of the fork is the gain in mean."""
    worths, means = simulated(-0.02, 0.2, 0.1, 20_000)
    left = belief_of(-0.02, 0.2).revised(0, 0.0, 0.01).covariance
    stated = np.array([Belief(np.array([mean]), left).probability_positive(0) for mean in means])
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1.0)):
        chosen = (stated >= low) & (stated < high)
        rate, expected = float((worths[chosen] > 0.0).mean()), float(stated[chosen].mean())
        assert abs(rate - expected) < 4.0 * math.sqrt(0.25 / chosen.sum())
    gained = np.where(means > 0.0, worths, 0.0)
    value = fork_value(belief_of(-0.02, 0.2), 0, 1.0, Prospect(0.01, 0.0, 1.0))
    assert abs(float(gained.mean()) - value) < 4.0 * float(gained.std()) / math.sqrt(len(gained))


@given(z=st.floats(-30.0, 30.0))
def test_the_normal_distribution_is_scipys(z: float) -> None:
    """To relative precision also far in the tail."""
    assert normal_cdf(z) == pytest.approx(float(norm.cdf(z)), rel=1e-9)


def test_sd_and_probability_are_those_of_one_normal() -> None:
    """Mean 0.3 with variance 0.04: sd 0.2, and 1.5 of them above nothing."""
    belief = Belief(np.array([0.3, -0.1]), np.array([[0.04, 0.01], [0.01, 0.25]]))
    assert belief.sd(0) == pytest.approx(0.2)
    assert belief.probability_positive(0) == pytest.approx(float(norm.cdf(1.5)))
    assert belief.probability_positive(1) == pytest.approx(float(norm.cdf(-0.2)))


@pytest.mark.parametrize(("mean", "expected"), [(0.1, 1.0), (-0.1, 0.0), (0.0, 0.5)])
def test_certainty_is_no_division_by_zero(mean: float, expected: float) -> None:
    """A variance of 0, or one that rounding took below it, leaves the sign of the mean."""
    for variance in (0.0, -1e-18):
        assert Belief(np.array([mean]), np.array([[variance]])).probability_positive(0) == expected


def test_an_exact_measurement_settles_one_policy() -> None:
    """With no error the mean is what was measured, and of another is left what does not go with it."""
    belief = Belief(np.zeros(2), np.array([[0.04, 0.03], [0.03, 0.09]])).revised(0, 0.1, 0.0)
    assert belief.mean == pytest.approx([0.1, 0.1 * 0.03 / 0.04])
    assert belief.sd(0) == pytest.approx(0.0, abs=1e-6)
    assert belief.sd(1) == pytest.approx(math.sqrt(0.09 - 0.03**2 / 0.04))
