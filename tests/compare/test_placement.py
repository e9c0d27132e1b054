"""The baseline's curve against a loss that is linear in log(length) by construction."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.compare.placement import BaselineCurve, falling

LENGTHS = (70, 100, 130, 160)


def line(steps: float) -> float:
    return 2.0 - 0.3 * math.log(steps)


@given(st.floats(70.0, 160.0))
def test_interpolation_is_exact_on_a_line_in_log_length(steps: float) -> None:
    """Both ways: loss to length and length to loss."""
    curve = BaselineCurve({length: [line(length)] for length in LENGTHS})
    assert curve.reach(line(steps)).steps == pytest.approx(steps, rel=1e-9)
    loss = curve.loss_at(steps)
    assert loss is not None
    assert loss == pytest.approx(line(steps), rel=1e-12)


def test_nothing_is_said_beyond_the_lengths_measured() -> None:
    """No extrapolation: the nearest length, marked as a bound."""
    curve = BaselineCurve({length: [line(length)] for length in LENGTHS})
    assert (curve.reach(line(300)).steps, curve.reach(line(300)).side) == (160.0, "above")
    assert (curve.reach(line(30)).steps, curve.reach(line(30)).side) == (70.0, "below")
    assert curve.loss_at(161) is None
    assert curve.loss_at(69) is None


def test_a_longer_baseline_that_was_worse_is_pooled() -> None:
    """Two neighbours out of order become their mean, and a loss there is reached between them."""
    curve = BaselineCurve({100: [2.0], 200: [1.4], 400: [1.6], 800: [1.0]})
    assert curve.means == [2.0, 1.5, 1.5, 1.0]
    assert curve.is_pooled
    assert curve.reach(1.5).steps == pytest.approx(math.sqrt(200 * 400), rel=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_pooling_falls_and_keeps_the_mean(values: list[float]) -> None:
    """What isotonic regression is, and that it leaves a falling sequence alone."""
    pooled = falling(values)
    assert all(a >= b for a, b in itertools.pairwise(pooled))
    assert sum(pooled) == pytest.approx(sum(values), abs=1e-9)
    assert falling(sorted(values, reverse=True)) == sorted(values, reverse=True)
