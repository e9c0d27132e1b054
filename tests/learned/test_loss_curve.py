"""The fall of the loss per e-fold of steps, on curves whose fall is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from references.blocks import joined, one_step, rows

from hpt.learned.loss_curve import FIT_FRAC, MIN_POINTS, LossCurve, fall_of

Vector = NDArray[np.float64]


@st.composite
def curves(draw: st.DrawFn) -> tuple[Vector, Vector]:
    """Steps that grow, four of them or more, and any losses."""
    count, seed = draw(st.integers(MIN_POINTS, 60)), draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(1, 100, size=count)).astype(np.float64), rng.normal(size=count)


def fall(steps: Vector, losses: Vector) -> float:
    found = fall_of(steps.tolist(), losses.tolist())
    assert found is not None
    return found


@settings(max_examples=60, deadline=None)
@given(curve=curves(), start=st.floats(-5.0, 5.0), slope=st.floats(-3.0, 3.0))
def test_the_fall_of_a_logarithm_is_its_factor(curve: tuple[Vector, Vector], start: float, slope: float) -> None:
    """Loss a - s log(step) falls by s an e-fold, wherever the blocks lie; float64, steps as near as 1 in 6000."""
    steps, _ = curve
    assert fall(steps, start - slope * np.log(steps)) == pytest.approx(slope, rel=1e-6, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(curve=curves(), shift=st.floats(-10.0, 10.0), factor=st.floats(0.1, 10.0), longer=st.integers(2, 50))
def test_units_of_loss_and_step_matter_as_they_should(
    curve: tuple[Vector, Vector], shift: float, factor: float, longer: int
) -> None:
    """A constant on the loss changes nothing, a factor scales the fall; longer steps are a shift of the logarithm."""
    steps, losses = curve
    expected = fall(steps, losses)
    assert fall(steps, losses + shift) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert fall(steps, factor * losses) == pytest.approx(factor * expected, rel=1e-9, abs=1e-12)
    assert fall(longer * steps, losses) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(curve=curves())
def test_the_slope_is_that_of_least_squares(curve: tuple[Vector, Vector]) -> None:
    """Of the blocks in the last half of the run, at least four, on the logarithm of the step."""
    steps, losses = curve
    kept = steps >= FIT_FRAC * steps[-1]
    kept[-MIN_POINTS:] = True
    slope, _ = np.polyfit(np.log(steps[kept]), losses[kept], 1)
    assert fall(steps, losses) == pytest.approx(-slope, rel=1e-6, abs=1e-8)


def test_what_lies_before_the_last_half_does_not_matter() -> None:
    """A curve that bent early has the fall of its end."""
    steps = np.arange(1.0, 101.0)
    losses = np.where(steps < 50.0, 10.0, 3.0 - 0.7 * np.log(steps))
    assert fall(steps, losses) == pytest.approx(0.7)


def test_before_four_blocks_there_is_none() -> None:
    """A block is a mean over its steps; one without steps is none."""
    curve = LossCurve()
    assert curve.fall() is None
    for block in range(4):
        numbers = range(10 * block + 1, 10 * block + 11)
        steps = joined(one_step(step=number, loss=2.0 - 0.01 * number) for number in numbers)
        assert curve.fall() is None
        curve.observe(steps)
        curve.observe(rows(steps, 0, 0))
    means = np.array([5.5, 15.5, 25.5, 35.5])
    assert curve.fall() == pytest.approx(fall(means, 2.0 - 0.01 * means), rel=1e-12)


def test_a_saved_curve_goes_on() -> None:
    """The next block gives both the same fall."""
    curve, twin = LossCurve(), LossCurve()
    for number in range(1, 8):
        curve.observe(one_step(step=number, loss=1.0 / number))
    twin.load_state_dict(curve.state_dict())
    for each in (curve, twin):
        each.observe(one_step(step=8, loss=0.3))
    assert twin.fall() == curve.fall()
