"""Student's t against printed tables, Holm's against his steps, intervals against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.compare.statistics import estimate, holm, mean_over_groups, p_value, student_cdf, student_quantile

TABLE_975 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 10: 2.2281, 30: 2.0423, 120: 1.9799}


@pytest.mark.parametrize(("freedom", "quantile"), TABLE_975.items())
def test_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    """Printed to four places in every textbook."""
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=5e-5)


@given(st.floats(-30, 30), st.integers(1, 60))
def test_distribution_is_the_integral_of_its_density(t: float, freedom: int) -> None:
    """Trapezoids under the density, from the definition with gamma functions."""
    grid = np.linspace(0.0, abs(t), 20_001)
    log_front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(log_front - (freedom + 1) / 2 * np.log1p(grid**2 / freedom))
    below = 0.5 + math.copysign(float(np.trapezoid(density, grid)), t)
    assert student_cdf(t, freedom) == pytest.approx(below, abs=1e-6)


def test_interval_of_three_values_by_hand() -> None:
    """Mean 2, standard deviation 1: 2 +- 4.3027 / sqrt(3)."""
    found = estimate([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.t_low == pytest.approx(2.0 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert found.t_high == pytest.approx(2.0 + 4.3027 / math.sqrt(3), abs=1e-4)


def test_p_value_agrees_with_the_interval() -> None:
    """A mean whose interval ends at zero has p = 5 %."""
    assert p_value(2.7764, 1.0, 4) == pytest.approx(0.05, abs=1e-4)


def test_bootstrap_of_two_values_spans_both() -> None:
    """A quarter of the draws is each value twice, so the 95 % interval reaches both ends."""
    found = estimate([0.0, 1.0])
    assert (found.boot_low, found.boot_high) == (0.0, 1.0)


def test_one_value_has_no_interval() -> None:
    """Nothing is known about its spread."""
    found = estimate([1.5])
    assert (found.value, found.low, found.high, found.p) == (1.5, None, None, None)


def test_equal_values_differ_from_zero_only_if_they_are_not_zero() -> None:
    """Rounding is no finding."""
    assert estimate([1e-16, -1e-16, 1e-16]).p == 1.0
    assert estimate([0.5, 0.5, 0.5]).p == 0.0


def test_a_diverged_run_leaves_no_interval() -> None:
    """Minus infinity stays what it is."""
    found = estimate([0.1, -math.inf, 0.1])
    assert (found.value, found.low, found.high) == (-math.inf, -math.inf, math.inf)


def test_holm_by_hand() -> None:
    """Smallest times three, next times two, never falling; what is not known is not counted."""
    assert holm([0.04, 0.01, None, 0.03]) == pytest.approx([0.06, 0.03, None, 0.06])


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=6))
def test_mean_over_one_group_is_its_estimate(values: list[float]) -> None:
    """Welch's formula with one group is Student's."""
    one, other = mean_over_groups([values]), estimate(values)
    assert one.value == pytest.approx(other.value)
    if np.std(values) > 1e-6:
        assert (one.t_low, one.t_high) == pytest.approx((other.t_low, other.t_high))


def test_means_of_groups_count_equally_whatever_their_size() -> None:
    """Workloads are averaged, not runs."""
    assert mean_over_groups([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0]]).value == 0.5
