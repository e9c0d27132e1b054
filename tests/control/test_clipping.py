"""Adaptive clipping follows its formula and tames spikes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.control.clipping import AdaptiveClipper

NORMS = st.floats(0.0, 1e6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NORMS, NORMS), max_size=5), st.floats(1e-4, 10.0))
def test_factors_follow_the_formula(norms: list[tuple[float, float]], ratio: float) -> None:
    """min(1, ratio max(|W|, 1e-3) / |G|), arXiv:2102.06171 equation 3, group by group."""
    factors = AdaptiveClipper(ratio).factors(tuple(grad for grad, _ in norms), tuple(weight for _, weight in norms))
    expected = [min(1.0, ratio * max(weight, 1e-3) / grad) if grad else 1.0 for grad, weight in norms]
    assert factors == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(NORMS, NORMS, st.floats(1e-4, 10.0))
def test_a_clipped_gradient_lies_on_the_limit(grad: float, weight: float, ratio: float) -> None:
    """Clipping twice is clipping once."""
    clipper = AdaptiveClipper(ratio)
    (factor,) = clipper.factors((grad,), (weight,))
    (again,) = clipper.factors((grad * factor,), (weight,))
    assert 0.0 < factor <= 1.0
    assert again == pytest.approx(1.0, rel=1e-12)


def test_weights_that_start_at_zero_can_leave_it() -> None:
    """The weight norm counts as 1e-3 at least: a unit gradient is scaled to 0.1 x 1e-3."""
    assert AdaptiveClipper(0.1).factors((1.0,), (0.0,)) == pytest.approx((1e-4,))


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_norms_that_are_not_finite_are_left_to_the_guards(norm: float) -> None:
    """Factor 1: 0 x inf would make a NaN of an infinity."""
    assert AdaptiveClipper(0.1).factors((norm, 1.0), (1.0, 1.0)) == (1.0, 0.1)


def test_groups_must_correspond() -> None:
    """One weight norm a gradient norm."""
    with pytest.raises(ValueError, match="zip"):
        AdaptiveClipper(0.1).factors((1.0, 2.0), (1.0,))


def descend(clipper: AdaptiveClipper | None) -> float:
    """SGD on a quadratic around 3, a gradient 1000 times too large every 25 steps; mean later loss."""
    rng = np.random.default_rng(0)
    weights, losses = np.full(10, 5.0), []
    for step in range(300):
        losses.append(0.5 * float(((weights - 3.0) ** 2).sum()))
        gradient = (weights - 3.0) + 0.1 * rng.standard_normal(10)
        if step % 25 == 10:
            gradient *= 1000.0
        if clipper is not None:
            norms = float(np.linalg.norm(gradient)), float(np.linalg.norm(weights))
            gradient *= clipper.factors((norms[0],), (norms[1],))[0]
        weights = weights - 0.1 * gradient
    return float(np.mean(losses[100:]))


def test_it_helps_against_planted_spikes() -> None:
    """With spikes clipped to a tenth of the weights the loss is lower by a factor of a thousand and more."""
    assert descend(AdaptiveClipper(0.1)) < 1e-3 * descend(None)
