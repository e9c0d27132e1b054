"""Normalised LMS: stable for any input, and what it learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.forecast import Moment
from hpt.predictors.linear import STEP_SIZE, LinearForecast

HORIZON = 5
QUIET = np.tile(np.array([0.0, 0.0, 3.0], dtype=np.float32), (HORIZON, 1))


def shift_at(model: LinearForecast, features: np.ndarray) -> float:
    model.tick(features.astype(np.float32), QUIET[0], 2.0, 2.0)
    return model.forecast(QUIET).shift


def teach(model: LinearForecast, features: np.ndarray, error: float) -> None:
    start = Moment(model.num_ticks, features.astype(np.float32))
    for _ in range(HORIZON):
        model.tick(features.astype(np.float32), QUIET[0], 2.0, 2.0)
    model.resolve(start, HORIZON, error)


def test_one_update_removes_the_stated_share_of_the_error() -> None:
    """Asked again at the same input, the error left is 1 - mu |x|^2 / (1 + |x|^2) of it (closed form)."""
    model, features = LinearForecast(3, HORIZON), np.linspace(-1.0, 1.0, 64)
    assert shift_at(model, features) == 0.0
    teach(model, features, 1.0)
    square = 1.0 + float((features.astype(np.float32).astype(np.float64) ** 2).sum()) + 9.0
    assert shift_at(model, features) == pytest.approx(STEP_SIZE * square / (1.0 + square), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(size=st.floats(1e-3, 5.0), seed=st.integers(0, 1000))
def test_errors_of_a_linear_world_never_grow(size: float, seed: int) -> None:
    """The distance to the true weights falls with every update, whatever the inputs' size."""
    rng, model = np.random.default_rng(seed), LinearForecast(1, HORIZON)
    true = rng.normal(size=68) * 0.05
    distance = float(np.linalg.norm(true))
    for _ in range(20):
        features = size * rng.normal(size=64).astype(np.float32)
        inputs = np.concatenate([[1.0], features, [0.0, 0.0, 3.0]])
        teach(model, features, float(np.clip(true @ inputs, -5.0, 5.0)))
        left = float(np.linalg.norm(true - model._weights))
        assert left <= distance + 1e-9
        distance = left


def test_pure_noise_costs_what_the_theory_says() -> None:
    """The excess error on noise stays near mu / (2 - mu) = 2.6 % of its variance (Haykin)."""
    rng, model, excess = np.random.default_rng(0), LinearForecast(1, HORIZON), list[float]()
    for index in range(3000):
        features = rng.normal(size=64)
        if index > 500:
            excess.append(shift_at(model, features) ** 2)
        teach(model, features, float(np.clip(rng.normal(), -5.0, 5.0)))
    assert np.mean(excess) == pytest.approx(STEP_SIZE / (2.0 - STEP_SIZE), rel=0.3)
