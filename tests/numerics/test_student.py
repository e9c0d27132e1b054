"""Student's distribution against printed tables."""

import math

import pytest

from hpt.numerics.student import quantile, upper_tail

TABLE = {(0.975, 1): 12.706, (0.975, 2): 4.303, (0.975, 10): 2.228, (0.9995, 5): 6.869, (0.95, 30): 1.697}


@pytest.mark.parametrize(("at", "expected"), TABLE.items())
def test_quantiles_are_those_of_the_table(at: tuple[float, int], expected: float) -> None:
    """Three digits are what tables give."""
    assert quantile(*at) == pytest.approx(expected, abs=6e-4)
    assert upper_tail(expected, at[1]) == pytest.approx(1 - at[0], rel=2e-3)


def test_one_degree_is_cauchys() -> None:
    """P(T > t) = 1/2 - atan(t) / pi."""
    for t in (-3.0, 0.0, 0.4, 50.0):
        assert upper_tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, abs=1e-6)


def test_fractional_degrees_lie_between_their_neighbours() -> None:
    """Welch's degrees are no whole numbers."""
    assert quantile(0.975, 4) > quantile(0.975, 4.5) > quantile(0.975, 5)
