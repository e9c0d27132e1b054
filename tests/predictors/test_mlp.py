"""The network: the constant at first, then something no linear model can say, repeatable to the bit."""

import numpy as np
import pytest

from hpt.config import LearnerConfig
from hpt.learned.forecast import LossTrend, Moment
from hpt.predictors.mlp import MlpForecast
from hpt.predictors.ridge import RidgeForecast

HORIZON = 4
QUIET = np.tile(np.array([0.0, 0.0, 3.0], dtype=np.float32), (HORIZON, 1))
TREND = LossTrend(HORIZON)


def make(seed: int = 0, **settings: float) -> MlpForecast:
    config = LearnerConfig(**{"updates_per_cycle": 5, **settings})  # pyright: ignore[reportArgumentType]
    return MlpForecast(3, HORIZON, config, seed)


def teach(model: MlpForecast | RidgeForecast, num_outcomes: int, seed: int) -> None:
    """Outcomes that are the square of what the features share (less its mean) under noise: no line fits them."""
    rng = np.random.default_rng(seed)
    for index in range(num_outcomes):
        shared = rng.normal()
        features = (shared + 0.3 * rng.normal(size=64)).astype(np.float32)
        start = Moment(model.num_ticks, features)
        for _ in range(HORIZON):
            model.tick(features, QUIET[0], 2.0, 2.0)
        model.resolve(start, HORIZON, float(shared**2 - 1.0 + 0.3 * rng.normal()))
        if index % 2:
            model.learn(TREND)


def shift_at(model: MlpForecast | RidgeForecast, level: float) -> float:
    features = np.full(64, level, dtype=np.float32)
    model.tick(features, QUIET[0], 2.0, 2.0)
    return model.forecast(QUIET).shift


def test_untrained_is_exactly_the_constant() -> None:
    """Whatever the seed, the heads begin at zero."""
    for seed in range(3):
        model = make(seed)
        model.tick(np.ones(64, dtype=np.float32), QUIET[0], 2.0, 2.0)
        forecast = model.forecast(QUIET)
        assert (forecast.shift, forecast.log_scale, forecast.epistemic) == (0.0, 0.0, 0.0)


def test_it_learns_a_square_and_ridge_cannot() -> None:
    """Both ends of a parabola are forecast above its middle; the line's slope says nothing of the sort."""
    model, line = make(), RidgeForecast(3, HORIZON)
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
    """With updates_per_cycle 0 the network stays what it was."""
    model = make(updates_per_cycle=0)
    teach(model, 50, 2)
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
    model = make(updates_per_cycle=0)
    for index in range(515):
        start = Moment(model.num_ticks, np.zeros(64, dtype=np.float32))
        for _ in range(HORIZON):
            model.tick(start.features, QUIET[0], 2.0, 2.0)
        model.resolve(start, HORIZON, index / 1000.0)
    kept = np.sort(model.state_dict()["errors"].numpy())
    assert kept == pytest.approx(np.arange(3, 515) / 1000.0, abs=1e-6)
