"""What may be said, case by case."""

import math
from dataclasses import replace

import pytest

from hpt.compare.claims import Effect, judge, overall
from hpt.compare.ratios import Ratio, excess
from hpt.statistics import estimate


def ratio(*logs: float) -> Ratio:
    return Ratio(estimate(logs), tuple(math.exp(log) for log in logs), "")


GAIN = ratio(0.2, 0.21, 0.19)
SMALL = ratio(0.1, 0.11, 0.09)
NONE = ratio(0.02, -0.02, 0.001)
LOSS = ratio(-0.2, -0.21, -0.19)


def verdict(one: Ratio, controls: dict[str, Ratio], p: float | None = 0.01, diverged: int = 0) -> Effect:
    over = {name: excess(one, control) for name, control in controls.items()}
    return judge(one, p, controls, over, num_diverged_controls=diverged).verdict


def test_a_gain_above_the_control_accelerates() -> None:
    """Interval above 1 and above the best control."""
    assert verdict(GAIN, {"lr-boost": SMALL, "frozen": NONE}) is Effect.ACCELERATES


@pytest.mark.parametrize(
    ("one", "controls", "p"),
    [
        (NONE, {"frozen": NONE}, 0.01),
        (GAIN, {"lr-boost": GAIN, "frozen": NONE}, 0.01),
        (GAIN, {}, 0.01),
        (GAIN, {"frozen": NONE}, 0.06),
    ],
    ids=["interval contains 1", "not above the best control", "no control ran", "not significant after Holm"],
)
def test_everything_less_is_no_difference(one: Ratio, controls: dict[str, Ratio], p: float) -> None:
    """Each condition alone is enough to withhold the claim."""
    assert verdict(one, controls, p) is Effect.NO_DIFFERENCE


def test_an_interval_below_one_hurts() -> None:
    """Whatever the controls did."""
    assert verdict(LOSS, {"frozen": NONE}) is Effect.HURTS


@pytest.mark.parametrize(
    ("one", "side", "expected"),
    [
        (GAIN, "above", Effect.ACCELERATES),
        (GAIN, "below", Effect.NO_DIFFERENCE),
        (LOSS, "below", Effect.HURTS),
        (LOSS, "above", Effect.NO_DIFFERENCE),
    ],
)
def test_a_bound_says_nothing_of_the_side_on_which_the_truth_lies(one: Ratio, side: str, expected: Effect) -> None:
    """Fewer steps end above what the shortest baseline reaches: at most its length for less work, which is no gain."""
    assert verdict(replace(one, side=side), {"frozen": NONE}) is expected


def test_a_diverged_run_hurts() -> None:
    """Even if all other seeds gained."""
    diverged = Ratio(estimate([0.3, 0.3, float("-inf")]), (1.3, 1.3, 0.0), "")
    assert verdict(diverged, {"frozen": NONE}) is Effect.HURTS


def test_a_diverged_control_has_lost() -> None:
    """It is no reason to withhold a claim, and no opponent either."""
    assert verdict(GAIN, {}, diverged=1) is Effect.ACCELERATES


def test_one_seed_proves_nothing() -> None:
    """There is no interval."""
    assert verdict(ratio(0.5), {"frozen": ratio(0.0)}) is Effect.NO_DIFFERENCE


def test_equality_up_to_rounding_is_no_harm() -> None:
    """The same weights give the same loss, and the curve gives it back with an error in the last place."""
    assert verdict(ratio(-1e-16, -1e-16, -1e-16), {"frozen": NONE}) is Effect.NO_DIFFERENCE


def test_overall_is_the_geometric_mean() -> None:
    """Of 1.25 and 0.8 it is 1."""
    assert overall([ratio(*[math.log(1.25)] * 3), ratio(*[math.log(0.8)] * 3)]).value == pytest.approx(1.0)
