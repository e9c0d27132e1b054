"""Seeds for a wanted resolution: against scipy's quantiles, closed forms, and the rule that will be applied."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hpt.compare.alpha_spending import Looks
from hpt.compare.resolution import MOST_SEEDS, effort, plan_all, plan_seeds, seeds_for, spread_of
from hpt.errors import ConfigError, UsageError

LOOKS = Looks()


def pilot(sd: float, num: int) -> list[float]:
    """So many values of exactly that standard deviation."""
    values = np.arange(num, dtype=np.float64)
    return (0.2 + sd * values / values.std(ddof=1)).tolist()


def test_three_seeds_suffice_up_to_the_spread_that_students_t_allows() -> None:
    """At the first look the interval is scipy's t at what that look may spend."""
    largest = math.log(1.03) * math.sqrt(3) / float(stats.t.ppf(1.0 - LOOKS.spent(3) / 2, 2))
    assert seeds_for(largest * 0.9999, 0.03) == 3
    assert seeds_for(largest * 1.0001, 0.03) == 4


@settings(deadline=None, max_examples=30)
@given(st.floats(0.001, 0.05), st.sampled_from([0.02, 0.03, 0.1]))
def test_the_plan_is_the_first_look_that_is_narrow_enough(sd: float, resolution: float) -> None:
    """The half-width there fits, and at every look before it did not."""
    num = seeds_for(sd, resolution)
    last = 30 if num is None or num > 30 else num
    halves = [LOOKS.factor(one) * sd / math.sqrt(one) for one in range(3, last + 1)]
    fits = [half <= math.log1p(resolution) for half in halves]
    assert fits == [False] * (len(fits) - 1) + [num == last]


def test_what_takes_more_than_the_most_has_no_number() -> None:
    """A spread of 100 % for 1 % takes tens of thousands."""
    assert seeds_for(1.0, 0.01) is None


@pytest.mark.parametrize("num", [2, 3, 5, 20])
def test_the_spreads_interval_is_chi_squares(num: int) -> None:
    """80 %, from scipy's quantiles."""
    found = spread_of(pilot(0.05, num))
    assert found.sd == pytest.approx(0.05)
    low, high = (0.05 * math.sqrt((num - 1) / stats.chi2.ppf(part, num - 1)) for part in (0.9, 0.1))
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("logs", "reason"),
    [
        ([], "has 0 paired seeds, a plan needs the spread of at least 2; run 2 or more first"),
        ([0.1], "has 1 paired seed, a plan needs the spread of at least 2; run 2 or more first"),
        ([0.1, -math.inf, 0.1], "has a diverged run"),
        ([0.1, 0.1, 0.1], "has no spread over 3 seeds"),
    ],
)
def test_a_pilot_that_tells_no_spread_is_refused(logs: list[float], reason: str) -> None:
    """With what to do about it."""
    with pytest.raises(UsageError, match=reason):
        spread_of(logs)


def test_a_plan_says_what_its_spread_leaves_open() -> None:
    """The ends are the plans at the ends of the spread."""
    plan = plan_seeds("byte-gpt", pilot(0.0181, 10), 0.03)
    assert plan.num_seeds == seeds_for(0.0181, 0.03)
    assert plan.fewest == seeds_for(plan.spread.low, 0.03)
    assert plan.most == seeds_for(plan.spread.high, 0.03)
    assert plan.sentence == "resolving 3 % for byte-gpt takes 7 paired seeds (6 to 11, spread known from 10)"


def test_a_plan_that_does_not_end_says_so() -> None:
    """In place of a number that nobody can run."""
    assert plan_seeds("mlp", pilot(0.08, 3), 0.03).sentence == (
        f"resolving 3 % for mlp takes more than {MOST_SEEDS} paired seeds (41 to more than {MOST_SEEDS}, "
        "spread known from 3)"
    )


def test_the_longest_plan_comes_first_and_refusals_stand_beside() -> None:
    """One question without a spread stops no other."""
    plans, refused = plan_all({"a": pilot(0.01, 5), "b": [0.0, 0.0], "c": pilot(0.02, 5)}, 0.03)
    assert [plan.name for plan in plans] == ["c", "a"]
    assert list(refused) == ["b"]


def test_cells_and_time_are_those_of_the_seeds_that_are_missing() -> None:
    """Seven seeds of eight cells at 51.4 s are 2878 s; of them three are there, and two run at once."""
    every = effort(7, [51.4] * 8)
    assert (every.num_cells, every.wall_s) == (56, pytest.approx(2878.4))
    assert every.words == "56 cells, 48 min"
    rest = effort(7, [51.4] * 8, num_done=3, jobs=2)
    assert (rest.num_cells, rest.wall_s) == (32, pytest.approx(822.4))
    assert effort(3, [60.0], num_done=5).words == "0 cells, 0 s"


def test_no_number_of_jobs_is_quicker_than_the_longest_cell() -> None:
    """A cell runs in one process."""
    assert effort(4, [10.0, 40.0], jobs=100).wall_s == 40.0
    with pytest.raises(ConfigError, match="jobs is 0"):
        effort(4, [1.0], jobs=0)
