"""Student's t against printed tables and its density, Holm's against his steps, intervals against closed forms."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.statistics import (
    chi_square_quantile,
    estimate,
    holm,
    mean_over_groups,
    median_estimate,
    p_value,
    student_below,
    student_quantile,
    student_tail,
)

TABLE_975 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 10: 2.2281, 30: 2.0423, 120: 1.9799}


@pytest.mark.parametrize(("degrees", "quantile"), TABLE_975.items())
def test_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    """Printed to four places in every textbook."""
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, abs=5e-5)


@settings(deadline=None)  # the first example imports scipy
@given(st.floats(-30, 30), st.floats(1, 60))
def test_distribution_is_the_integral_of_its_density(t: float, degrees: float) -> None:
    """Trapezoids under the density, from the definition with gamma functions; degrees need not be whole."""
    grid = np.linspace(0.0, abs(t), 20_001)
    log_front = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    density = np.exp(log_front - (degrees + 1) / 2 * np.log1p(grid**2 / degrees))
    above = 0.5 - math.copysign(float(np.trapezoid(density, grid)), t)
    assert student_tail(t, degrees) == pytest.approx(above, abs=1e-6)


def test_many_are_below_as_one_is_not_above() -> None:
    """Element by element the complement of the tail."""
    values = np.array([-3.0, 0.0, 0.4, 50.0])
    assert student_below(values, 4).tolist() == pytest.approx([1.0 - student_tail(t, 4) for t in values.tolist()])


@pytest.mark.parametrize(("degrees", "low", "high"), [(1, 0.0158, 2.7055), (4, 1.0636, 7.7794), (10, 4.8652, 15.9872)])
def test_chi_squares_quantiles_are_those_of_the_tables(degrees: int, low: float, high: float) -> None:
    """At 10 and 90 %, printed to four places."""
    assert chi_square_quantile(0.1, degrees) == pytest.approx(low, abs=5e-5)
    assert chi_square_quantile(0.9, degrees) == pytest.approx(high, abs=5e-5)


def test_one_degree_is_cauchys() -> None:
    """P(T > t) = 1/2 - atan(t) / pi."""
    for t in (-3.0, 0.0, 0.4, 50.0):
        assert student_tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, abs=1e-12)


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


def test_a_statistic_of_ones_own_is_resampled_by_place() -> None:
    """The mean of the drawn values, written as such, is what is resampled without one."""
    values = np.array([0.3, 0.1, 0.7, 0.2])
    assert estimate(values.tolist(), lambda places: values[places].mean(axis=1)) == estimate(values.tolist())


def test_the_median_of_many_values_is_known_to_its_standard_error() -> None:
    """Of n normal values the median's standard error is sqrt(pi / 2n): the interval is about four of them wide."""
    values = np.random.default_rng(0).standard_normal(400)
    median, low, high = median_estimate(values)
    assert median == np.median(values)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(math.pi / 800), rel=0.25)


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


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=6))
def test_mean_over_one_group_repeated_is_its_mean(values: list[float]) -> None:
    """Two equal groups have the mean of one and, with as many seeds again, an interval that is narrower."""
    one, both = estimate(values), mean_over_groups([values, values])
    assert both.value == pytest.approx(one.value)
    if np.std(values) > 1e-6:
        assert one.t_high is not None
        assert both.t_high is not None
        assert both.t_high - both.value < one.t_high - one.value


def test_means_of_groups_count_equally_whatever_their_size() -> None:
    """Workloads are averaged, not runs."""
    assert mean_over_groups([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0]]).value == 0.5


def test_the_interval_over_groups_is_welchs_by_hand() -> None:
    """Variances of the means 1 / 3 and 4 / 3: error sqrt(5 / 3) / 2, (5 / 3)^2 / (17 / 9 / 2) = 2.94 degrees, so 2."""
    found = mean_over_groups([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]])
    assert found.value == 1.5
    assert found.t_high == pytest.approx(1.5 + 4.3027 * math.sqrt(5 / 12), abs=1e-4)


def test_holm_is_the_textbook_example() -> None:
    """Holm 1979: 0.01, 0.04, 0.03, 0.005 of four."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_adjusts_upwards_and_keeps_the_order(p_values: list[float]) -> None:
    """Never below the raw p, never above Bonferroni's, and in the same order."""
    adjusted = holm(p_values)
    for raw, one in zip(p_values, adjusted, strict=True):
        assert raw <= one <= max(raw, min(1.0, len(p_values) * raw)) + 1e-12
    ordered = [one for _, one in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)
    assert holm([]) == []


def test_scipy_is_loaded_only_where_it_is_asked() -> None:
    """It takes a third of a second, which `hpt --help` and `hpt report` have no use for."""
    code = "import sys, hpt.cli.main, hpt.statistics, hpt.bench.comparison; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
