"""The rule that says what is played and whether a fork pays: closed forms against quadrature and simulation."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from references.beliefs import NUM, belief_of, beliefs
from scipy.stats import norm

from hpt.control.value import (
    Prospect,
    best_fork,
    best_policy,
    expected_maximum,
    fork_value,
    normal_density,
    upper_envelope,
)
from hpt.learned.belief import Belief

GRID = [-0.3, -0.1, 0.0, 0.05, 0.1, 0.3]  # few values, so that means and spreads tie
NUMBERS = st.one_of(st.sampled_from(GRID), st.floats(-1.0, 1.0))
LINES = st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(NUMBERS, min_size=n, max_size=n)] * 2))
PROSPECTS = st.builds(Prospect, variance=st.floats(1e-6, 1.0), cost=st.floats(0.0, 0.1), share_after=st.floats(0, 0.9))
NODES, WEIGHTS = np.polynomial.legendre.leggauss(80)


def fork_over(belief: Belief, prospect: Prospect, share_left: float = 1.0) -> tuple[int, float] | None:
    """The same prospect for every policy."""
    return best_fork(belief, share_left, [prospect] * len(belief.mean))


@settings(max_examples=200, deadline=None)
@given(lines=LINES)
def test_the_expected_maximum_is_the_integral_of_the_highest_line(lines: tuple[list[float], list[float]]) -> None:
    """Against Gauss-Legendre quadrature between the crossings, over twelve sigmas; ties and equal spreads included."""
    means, spreads = map(np.array, lines)
    pairs = [(i, j) for i in range(len(means)) for j in range(i) if abs(spreads[j] - spreads[i]) > 1e-9]
    crossings = sorted({float((means[i] - means[j]) / (spreads[j] - spreads[i])) for i, j in pairs})
    ends = np.array([-12.0, *(one for one in crossings if abs(one) < 12.0), 12.0])
    half = np.diff(ends)[:, None] / 2.0
    z = ends[:-1, None] + half * (NODES + 1.0)
    heights = (means[:, None, None] + spreads[:, None, None] * z).max(axis=0)
    expected = float((half * WEIGHTS * heights * norm.pdf(z)).sum())
    assert expected_maximum(means, spreads) == pytest.approx(expected, abs=1e-9)


@given(lines=LINES, z=st.floats(-8.0, 8.0))
def test_the_envelope_is_the_highest_line_everywhere(lines: tuple[list[float], list[float]], z: float) -> None:
    """The line that it names for z is as high there as any; starts rise from minus infinity, slopes too."""
    means, spreads = map(np.array, lines)
    chosen, starts = upper_envelope(means, spreads)
    assert starts[0] == -math.inf
    assert starts == sorted(set(starts))
    assert list(spreads[chosen]) == sorted(spreads[chosen])
    here = chosen[max(place for place, start in enumerate(starts) if start <= z)]
    assert means[here] + spreads[here] * z == pytest.approx((means + spreads * z).max(), abs=1e-9)


@given(mean=st.floats(-1.0, 1.0), sd=st.floats(1e-3, 1.0), variance=st.floats(1e-6, 1.0), share=st.floats(0.01, 1.0))
def test_for_one_policy_information_is_the_unit_normal_linear_loss(
    mean: float, sd: float, variance: float, share: float
) -> None:
    """Raiffa and Schlaifer: s (phi(u) - u Phi(-u)) with u = |m| / s, s the preposterior standard deviation."""
    spread = sd**2 / math.sqrt(sd**2 + variance)
    unit = abs(mean) / spread
    loss = norm.pdf(unit) - unit * norm.sf(unit)
    found = fork_value(belief_of(mean, sd), 0, share, Prospect(variance, 0.0, share))
    assert found == pytest.approx(share * spread * loss, abs=1e-9)


@given(belief=beliefs(), place=st.integers(0, NUM - 1), prospect=PROSPECTS, more=st.floats(0.0, 0.1))
def test_information_is_never_negative_and_costs_what_it_costs(
    belief: Belief, place: int, prospect: Prospect, more: float
) -> None:
    """Before its cost a fork cannot hurt, since the choice may stay as it is; a longer one is worth less for longer."""
    value = fork_value(belief, place, 0.9, prospect)
    assert value + prospect.cost >= -1e-12
    dearer = Prospect(prospect.variance, prospect.cost + more, prospect.share_after)
    assert fork_value(belief, place, 0.9, dearer) == pytest.approx(value - more, abs=1e-12)


@given(belief=beliefs(), place=st.integers(0, NUM - 1), prospect=PROSPECTS, worse=st.floats(1.0, 100.0))
def test_a_noisier_fork_is_never_worth_more(belief: Belief, place: int, prospect: Prospect, worse: float) -> None:
    """Blackwell: what a noisy measurement tells, a sharper one tells too."""
    noisier = Prospect(prospect.variance * worse, prospect.cost, prospect.share_after)
    assert fork_value(belief, place, 0.9, noisier) <= fork_value(belief, place, 0.9, prospect) + 1e-12


@given(belief=beliefs(), share=st.floats(0.01, 0.9))
def test_a_fork_that_tells_nothing_is_not_made(belief: Belief, share: float) -> None:
    """An error of endless variance, at the least cost; nor one after which nothing is left to play."""
    assert fork_over(belief, Prospect(1e18, 1e-6, share)) is None
    assert fork_over(belief, Prospect(1e-4, 1e-6, 0.0)) is None


@given(mean=st.floats(-1.0, -1e-3), cost=st.floats(1e-6, 0.1))
def test_a_certain_loss_is_neither_played_nor_measured(mean: float, cost: float) -> None:
    """Nor is a certain gain measured, but that is played."""
    prospect = Prospect(1e-4, cost, 0.8)
    loss, gain = belief_of(mean, 1e-6, NUM), belief_of(-mean, 1e-6, NUM)
    assert best_policy(loss) is None
    assert best_policy(gain) == 0
    assert fork_over(loss, prospect) is None
    assert fork_over(gain, prospect) is None


def test_nothing_is_played_that_is_worth_nothing() -> None:
    """A mean of 0 is that of no jump, which is free of risk; of several the largest is played."""
    assert best_policy(belief_of(0.0, 1.0, 3)) is None
    assert best_policy(Belief(np.array([0.1, 0.3, -1.0]), np.eye(3))) == 1


@given(belief=beliefs(), prospect=PROSPECTS, longer=st.floats(1.0, 100.0))
def test_a_longer_run_never_forks_less(belief: Belief, prospect: Prospect, longer: float) -> None:
    """The same steps are a smaller share of it; what is worth most is worth it all the more."""
    found = fork_over(belief, prospect)
    assume(found is not None)
    assert found is not None
    in_longer = fork_over(belief, Prospect(prospect.variance, prospect.cost / longer, prospect.share_after))
    assert in_longer is not None
    assert in_longer[1] >= found[1]


def test_the_policy_is_measured_whose_result_may_change_the_choice() -> None:
    """Both are believed to be worth the same; the one that is uncertain is measured, not the one that is known."""
    belief = Belief(np.array([0.05, 0.05]), np.diag([1e-6, 0.04]))
    found = fork_over(belief, Prospect(1e-3, 0.001, 0.8))
    assert found is not None
    assert found[0] == 1


def test_what_goes_together_is_learned_together() -> None:
    """A policy hardly known that goes with another is measured through it, at what direct measurement would tell."""
    covariance = 0.04 * np.array([[1.0, 0.999], [0.999, 1.0]])
    together = fork_value(Belief(np.array([-0.05, -0.05]), covariance), 0, 1.0, Prospect(1e-4, 0.0, 1.0))
    alone = fork_value(belief_of(-0.05, 0.2), 0, 1.0, Prospect(1e-4, 0.0, 1.0))
    assert together == pytest.approx(alone, rel=0.05)
    revised = Belief(np.zeros(2), covariance).revised(0, 0.3, 1e-6)
    assert revised.mean[1] == pytest.approx(0.3 * 0.999, rel=1e-3)


@pytest.mark.parametrize("worth", [-0.1, 0.1])
def test_a_planted_run_is_judged_right_as_often_as_its_distance_says(worth: float) -> None:
    """From a prior around 0 the sign after one fork is wrong with probability Phi(-|theta| / error)."""
    num, error = 20_000, 0.08
    draw = np.random.default_rng(3)
    belief = belief_of(0.0, 0.2)
    played = [best_policy(belief.revised(0, worth + error * one, error**2)) for one in draw.standard_normal(num)]
    wrong = sum((place is None) == (worth > 0.0) for place in played) / num
    expected = float(norm.cdf(-abs(worth) / error))
    assert abs(wrong - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / num)


def test_the_density_is_the_normal_one() -> None:
    """By scipy; 0 at infinity."""
    for z in (-40.0, -3.0, 0.0, 0.5, 10.0):
        assert normal_density(z) == pytest.approx(float(norm.pdf(z)), rel=1e-9)
    assert normal_density(math.inf) == normal_density(-math.inf) == 0.0
