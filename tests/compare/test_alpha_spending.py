"""Widened t intervals: what each look spends, against slow integration and simulated series."""

import math

import numpy as np
import pytest
from scipy import stats

from hpt.compare.alpha_spending import FIRST_LOOK, RESERVED_FRAC, Looks
from hpt.errors import ConfigError


def t_of(series: np.ndarray) -> np.ndarray:
    """Student's t of (S, N) series at each look from the first on, from the textbook's formula."""
    looks = range(FIRST_LOOK, series.shape[1] + 1)
    parts = [series[:, :num] for num in looks]
    return np.stack([one.mean(1) / (one.std(1, ddof=1) / math.sqrt(one.shape[1])) for one in parts], axis=1)


def test_the_first_look_is_a_plain_t_interval_at_what_it_may_spend() -> None:
    """Nothing was looked at before: scipy's quantile of t with two degrees of freedom."""
    looks = Looks()
    assert looks.factor(3) == pytest.approx(stats.t.ppf(1.0 - looks.spent(3) / 2, 2), rel=1e-9)


def test_the_second_look_spends_its_part_by_brute_force() -> None:
    """Of a fine grid of four values, those that pass three and are stopped at four; t is computed from the values.

    Three values of squares that sum to 1 stand for any: the fourth over their root is t with three degrees, over
    sqrt 3. All of the 800 x 2000 cells have the same probability, and the boundary cuts one in a thousand.
    """
    looks, shares = Looks(), (np.arange(2000) + 0.5) / 2000
    passed = 1.0 - looks.spent(3)
    t = stats.t.ppf(0.5 + passed * (np.arange(800) + 0.5 - 400) / 800, 2)
    mean = t / np.sqrt(3.0 * (2.0 + t**2))
    half = np.sqrt((1.0 - 3.0 * mean**2) / 2.0)
    first = np.stack([mean - half, mean, mean + half], axis=1)
    fourth = stats.t.ppf(shares, 3) / math.sqrt(3.0)
    values = np.concatenate([np.repeat(first, 2000, axis=0), np.tile(fourth, len(first))[:, None]], axis=1)
    stopped = np.abs(t_of(values)[:, 1]) > looks.factor(4)
    assert passed * stopped.mean() == pytest.approx(looks.spent(4) - looks.spent(3), rel=0.01)


@pytest.mark.parametrize("looks", [Looks(), Looks(planned=8), Looks(planned=8, alpha=0.2)])
def test_series_are_stopped_as_often_as_was_planned(looks: Looks) -> None:
    """12 000 normal series, look by look; four standard errors."""
    series = np.random.default_rng(3).standard_normal((12_000, 12))
    factors = [looks.factor(num) for num in range(FIRST_LOOK, 13)]
    crossed = (np.abs(t_of(series)) > factors).cumsum(axis=1) > 0
    for place, found in enumerate(crossed.mean(axis=0)):
        spent = looks.spent(FIRST_LOOK + place)
        assert found == pytest.approx(spent, abs=4.0 * math.sqrt(spent / 12_000))


def test_a_tenth_is_kept_for_ever() -> None:
    """Planned looks spend nine tenths, all that may follow never more than the rest."""
    looks = Looks(planned=12)
    assert looks.spent(12) == pytest.approx((1.0 - RESERVED_FRAC) * looks.alpha)
    spent = [looks.spent(num) for num in (*range(3, 200), 10**12)]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(looks.alpha)


def test_no_interval_comes_before_the_first_look_and_planned_ones_narrow() -> None:
    """Infinite, then falling with every planned seed, and always wider than the plain t."""
    factors = {num: Looks().factor(num) for num in range(1, 31)}
    assert [factors[1], factors[2]] == [math.inf, math.inf]
    planned = [factors[num] for num in range(3, 21)]
    assert planned == sorted(planned, reverse=True)
    assert all(factors[num] > stats.t.ppf(0.975, num - 1) for num in range(3, 31))


@pytest.mark.parametrize(
    ("values", "field"), [({"planned": 2}, "planned"), ({"alpha": 0.0}, "alpha"), ({"alpha": 0.5}, "alpha")]
)
def test_looks_that_cannot_be_are_refused(values: dict[str, float], field: str) -> None:
    """In one line that names the field."""
    with pytest.raises(ConfigError, match=f"looks.{field} is"):
        Looks(**values)  # pyright: ignore[reportArgumentType]
