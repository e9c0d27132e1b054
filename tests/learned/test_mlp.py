"""Normalised LMS: stable for any input. The network: something no linear model can say, repeatable to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.forecast_model import Moment
from hpt.learned.loss_trend import LossTrend
from hpt.learned.mlp import STEP_SIZE, LinearForecast, MlpForecast
from hpt.learned.ridge import FeatureModel, RidgeForecast

HORIZON = 4
QUIET = np.tile(np.array([0.0, 0.0, 3.0], dtype=np.float32), (HORIZON, 1))
CURVE = LossTrend(HORIZON).curve(HORIZON)


def make(seed: int = 0) -> MlpForecast:
    return MlpForecast(HORIZON, seed)


def tick(model: FeatureModel, features: np.ndarray) -> None:
    """One full step without a jump."""
    model.tick(features[None].astype(np.float32), QUIET[:1], np.array([2.0]), np.array([2.0]))


def teach(model: MlpForecast | RidgeForecast, num_outcomes: int, seed: int) -> None:
    """Outcomes that are the square of what the features share (less its mean) under noise: no line fits them."""
    rng = np.random.default_rng(seed)
    for index in range(num_outcomes):
        shared = rng.normal()
        features = (shared + 0.3 * rng.normal(size=64)).astype(np.float32)
        start = Moment(model.num_ticks, features)
        for _ in range(HORIZON):
            tick(model, features)
        model.resolve(start, HORIZON, float(shared**2 - 1.0 + 0.3 * rng.normal()))
        for _ in range(5 * (index % 2)):
            model.learn(*CURVE)


def shift_at(model: MlpForecast | RidgeForecast, level: float) -> float:
    features = np.full(64, level, dtype=np.float32)
    tick(model, features)
    return model.forecast(QUIET).shift


def test_untrained_is_exactly_the_constant() -> None:
    """Whatever the seed, the heads begin at zero."""
    for seed in range(3):
        model = make(seed)
        tick(model, np.ones(64))
        forecast = model.forecast(QUIET)
        assert (forecast.shift, forecast.log_scale, forecast.epistemic) == (0.0, 0.0, 0.0)


def test_it_learns_a_square_and_ridge_cannot() -> None:
    """Both ends of a parabola are forecast above its middle; the line's slope says nothing of the sort."""
    model, line = make(), RidgeForecast(HORIZON)
    teach(model, 200, 0)
    teach(line, 200, 0)
    curved = min(shift_at(model, -2.0), shift_at(model, 2.0)) - shift_at(model, 0.0)
    straight = min(shift_at(line, -2.0), shift_at(line, 2.0)) - shift_at(line, 0.0)
    assert curved > 0.4
    assert straight < 0.1


def test_heads_disagree_once_they_have_seen_different_outcomes() -> None:
    """The epistemic part is zero before learning and not after."""
    model = make()
    teach(model, 100, 1)
    assert shift_at(model, 1.0) != 0.0
    assert model.forecast(QUIET).epistemic > 0.0


def test_no_updates_no_learning() -> None:
    """Before it is told to learn the network stays what it was, whatever outcomes came in."""
    model = make()
    for index in range(20):
        tick(model, np.full(64, float(index % 3)))
        model.resolve(Moment(0, np.ones(64, dtype=np.float32)), 1, 2.0)
    assert shift_at(model, 1.5) == 0.0


def test_same_seed_same_network_to_the_bit() -> None:
    """Two networks shown the same agree exactly; another seed's does not."""
    shifts: list[float] = []
    for seed in (0, 0, 1):
        model = make(seed)
        teach(model, 60, 3)
        shifts.append(shift_at(model, 1.0))
    assert shifts[0] == shifts[1] != shifts[2]


def test_outcomes_beyond_capacity_replace_the_oldest() -> None:
    """The store is a ring: the newest 512 outcomes stay."""
    model = make()
    for index in range(515):
        start = Moment(model.num_ticks, np.zeros(64, dtype=np.float32))
        for _ in range(HORIZON):
            tick(model, start.features)
        model.resolve(start, HORIZON, index / 1000.0)
    kept = np.sort(model.state_dict()["errors"].numpy())
    assert kept == pytest.approx(np.arange(3, 515) / 1000.0, abs=1e-6)


def linear_shift(model: LinearForecast, features: np.ndarray) -> float:
    tick(model, features)
    return model.forecast(QUIET).shift


def teach_linear(model: LinearForecast, features: np.ndarray, error: float) -> None:
    start = Moment(model.num_ticks, features.astype(np.float32))
    for _ in range(HORIZON):
        tick(model, features)
    model.resolve(start, HORIZON, error)


def test_one_update_removes_the_stated_share_of_the_error() -> None:
    """Asked again at the same input, the error left is 1 - mu |x|^2 / (1 + |x|^2) of it (closed form)."""
    model, features = LinearForecast(HORIZON), np.linspace(-1.0, 1.0, 64)
    assert linear_shift(model, features) == 0.0
    teach_linear(model, features, 1.0)
    square = 1.0 + float((features.astype(np.float32).astype(np.float64) ** 2).sum()) + 9.0
    assert linear_shift(model, features) == pytest.approx(STEP_SIZE * square / (1.0 + square), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(size=st.floats(1e-3, 5.0), seed=st.integers(0, 1000))
def test_errors_of_a_linear_world_never_grow(size: float, seed: int) -> None:
    """The distance to the true weights falls with every update, whatever the inputs' size."""
    rng, model = np.random.default_rng(seed), LinearForecast(HORIZON)
    true = rng.normal(size=68) * 0.05
    distance = float(np.linalg.norm(true))
    for _ in range(20):
        features = size * rng.normal(size=64).astype(np.float32)
        inputs = np.concatenate([[1.0], features, [0.0, 0.0, 3.0]])
        teach_linear(model, features, float(np.clip(true @ inputs, -5.0, 5.0)))
        left = float(np.linalg.norm(true - model._weights))
        assert left <= distance + 1e-9
        distance = left


def test_pure_noise_costs_what_the_theory_says() -> None:
    """The excess error on noise stays near mu / (2 - mu) = 2.6 % of its variance (Haykin)."""
    rng, model, excess = np.random.default_rng(0), LinearForecast(HORIZON), list[float]()
    for index in range(3000):
        features = rng.normal(size=64)
        if index > 500:
            excess.append(linear_shift(model, features) ** 2)
        teach_linear(model, features, float(np.clip(rng.normal(), -5.0, 5.0)))
    assert np.mean(excess) == pytest.approx(STEP_SIZE / (2.0 - STEP_SIZE), rel=0.3)
