"""The corrector helps where there is something to correct and stays out of the way elsewhere."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.config import CorrectConfig
from hpt.trainer.corrector import Corrector, undo_factor

SIZE = 64


def forecast_errors(bias_of: str, seed: int, count: int = 300) -> tuple[float, float]:
    """Mean squared residual with and without correction, after 30 residuals, under unit noise plus a bias."""
    rng = np.random.default_rng(seed)
    corrector = Corrector(CorrectConfig())
    direction = rng.standard_normal(SIZE) / math.sqrt(SIZE)
    features, corrected, plain = rng.standard_normal(SIZE), 0.0, 0.0
    for step in range(count):
        features = 0.9 * features + math.sqrt(1 - 0.81) * rng.standard_normal(SIZE)
        bias = {"none": 0.0, "constant": 1.0, "state": 1.5 * float(direction @ features)}[bias_of]
        residual = bias + float(rng.standard_normal())
        shift = corrector.correct(features)
        if step >= 30:
            corrected += (residual - shift) ** 2
            plain += residual**2
        corrector.observe(features, residual, step, 50, was_jump=True)
    return corrected / (count - 30), plain / (count - 30)


@pytest.mark.parametrize(("bias_of", "at_most"), [("constant", 0.7), ("state", 0.7)])
def test_it_lowers_the_error_of_biased_forecasts(bias_of: str, at_most: float) -> None:
    """A bias of a scale, constant or a function of the state: 30 % of the squared error goes, over 4 runs."""
    errors = np.array([forecast_errors(bias_of, seed) for seed in range(4)])
    assert errors[:, 0].sum() < at_most * errors[:, 1].sum()


def test_it_leaves_pure_noise_alone() -> None:
    """Nothing to learn: the squared error rises by 5 % at most, over 6 runs."""
    errors = np.array([forecast_errors("none", seed) for seed in range(6)])
    assert errors[:, 0].sum() < 1.05 * errors[:, 1].sum()


def test_it_acts_only_once_earned() -> None:
    """No word before 8 residuals were scored, none while its own error is the higher one."""
    corrector, features = Corrector(CorrectConfig()), np.ones(SIZE)
    for step in range(8):
        assert corrector.correct(features) == 0.0
        corrector.observe(features, 1.0, step, 50, was_jump=True)
    assert corrector.is_earned
    assert corrector.correct(features) > 0.5
    for step in range(8, 40):  # the bias flips at every step: the past misleads
        corrector.observe(features, (-1.0) ** step * 5.0, step, 50, was_jump=True)
    with_it, without = corrector.errors
    assert corrector.is_earned == (with_it < without)
    assert corrector.correct(features) == 0.0


def test_rolling_errors_are_those_of_the_definition() -> None:
    """Exponential means with decay 0.95, free of start-up bias; the prediction is made before learning."""
    rng = np.random.default_rng(3)
    corrector, residuals = Corrector(CorrectConfig()), rng.standard_normal(20)
    for step, residual in enumerate(residuals):
        corrector.observe(rng.standard_normal(SIZE), float(residual), step, 50, was_jump=True)
        if step == 0:  # nothing could be predicted
            assert corrector.errors == pytest.approx((residual**2, residual**2))
    weights = 0.95 ** np.arange(19, -1, -1)
    assert corrector.errors[1] == pytest.approx(weights @ residuals**2 / weights.sum())


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3, 1e20])
def test_it_is_stable_for_features_of_any_size(size: float) -> None:
    """Constant bias, features of any norm: after 300 residuals the correction is finite and near the bias."""
    rng = np.random.default_rng(0)
    corrector = Corrector(CorrectConfig())
    for step in range(300):
        corrector.observe(
            size * rng.standard_normal(SIZE), 2.0 + 0.1 * float(rng.standard_normal()), step, 50, was_jump=True
        )
    corrections = [corrector.correct(size * rng.standard_normal(SIZE)) for _ in range(50)]
    assert np.mean(corrections) == pytest.approx(2.0, abs=0.5)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-50.0, 50.0), min_size=8, max_size=40),
    st.integers(0, 2**16),
    st.sampled_from([0.01, 1.0, 1e4]),
)
def test_it_never_exceeds_what_was_observed(residuals: list[float], seed: int, size: float) -> None:
    """Whatever came, the correction lies within the residuals seen, 0 included, and within 10 scales."""
    rng = np.random.default_rng(seed)
    corrector = Corrector(CorrectConfig())
    for step, residual in enumerate(residuals):
        corrector.observe(rng.standard_normal(SIZE), residual, step, 50, was_jump=True)
        correction = corrector.correct(size * rng.standard_normal(SIZE))
        seen = residuals[: step + 1]
        assert max(-10.0, min(0.0, *seen)) <= correction <= min(10.0, max(0.0, *seen))


def test_an_empty_one_corrects_nothing_and_neither_does_one_switched_off() -> None:
    """0 before any residual, and 0 with `use_residuals` off although it was earned."""
    off = Corrector(CorrectConfig(use_residuals=False))
    for step in range(30):
        off.observe(np.ones(SIZE), 1.0, step, 50, was_jump=True)
    assert off.is_earned
    assert off.correct(np.ones(SIZE)) == 0.0
    assert Corrector(CorrectConfig()).correct(np.ones(SIZE)) == 0.0


@pytest.mark.parametrize("residual", [math.nan, math.inf])
def test_what_is_not_a_number_teaches_nothing(residual: float) -> None:
    """Neither a residual nor a feature that is no number changes it, and a broken state gets no correction."""
    corrector = Corrector(CorrectConfig())
    for step in range(30):
        corrector.observe(np.ones(SIZE), 1.0, step, 50, was_jump=True)
    before = corrector.correct(np.ones(SIZE))
    corrector.observe(np.ones(SIZE), residual, 30, 50, was_jump=True)
    corrector.observe(np.full(SIZE, math.nan), 1.0, 30, 50, was_jump=True)
    assert corrector.correct(np.ones(SIZE)) == before > 0.0
    assert corrector.correct(np.full(SIZE, math.nan)) == 0.0
    assert len(corrector.store) == 30


def test_a_restored_corrector_continues_exactly() -> None:
    """Same corrections, bit for bit, over 60 further residuals."""
    rng = np.random.default_rng(4)
    corrector, twin = Corrector(CorrectConfig()), Corrector(CorrectConfig())
    for step in range(100):
        if step == 40:
            twin.load_state_dict(copy.deepcopy(corrector.state_dict()))
        features, residual = rng.standard_normal(SIZE), 1.0 + float(rng.standard_normal())
        for one in (corrector, twin) if step >= 40 else (corrector,):
            one.observe(features, residual, step, 50, was_jump=True)
        if step >= 40:
            assert twin.correct(features) == corrector.correct(features)
    assert corrector.is_earned


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_undo_factor_is_the_clipped_projection(dot: float, square: float) -> None:
    """-<d, j> / |j|^2 between nothing and the whole jump."""
    assert undo_factor(dot, square) == pytest.approx(float(np.clip(-dot / square, 0.0, 1.0)))


@pytest.mark.parametrize(("dot", "square"), [(-1.0, 0.0), (math.nan, 1.0), (-1.0, math.inf), (0.0, 0.0)])
def test_undo_factor_of_a_degenerate_jump_is_zero(dot: float, square: float) -> None:
    """No jump, or numbers that are none: nothing is undone."""
    assert undo_factor(dot, square) == 0.0


def after_undo(num_steps: int) -> tuple[float, float]:
    """Loss before and after undoing, `num_steps` of gradient descent after a jump to three times the way."""
    curvatures = np.array([1.0, 0.3])
    start = np.array([1.0, 1.0])
    jump = -3.0 * start
    landed = start + jump
    weights = landed.copy()
    for _ in range(num_steps):
        weights = weights - 0.1 * curvatures * weights
    factor = undo_factor(float((weights - landed) @ jump), float(jump @ jump))
    undone = weights - factor * jump
    return 0.5 * float(curvatures @ weights**2), 0.5 * float(curvatures @ undone**2)


@pytest.mark.parametrize("num_steps", [2, 3, 5, 8])
def test_undoing_what_the_steps_reversed_lowers_the_loss(num_steps: int) -> None:
    """A jump past the minimum of a quadratic: while steps have not yet made up for it, undoing helps."""
    before, after = after_undo(num_steps)
    assert after < before


def test_undoing_comes_too_late_after_many_steps() -> None:
    """Once the steps have repaired the overshoot themselves, undoing it again overshoots back: C must be short."""
    before, after = after_undo(40)
    assert after > before
