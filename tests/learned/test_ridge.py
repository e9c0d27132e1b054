"""Ridge on features: the constant at first, then what the features tell, never more than was seen."""

import numpy as np
import pytest

from hpt.learned.forecast_model import Moment
from hpt.learned.ridge import INTERCEPT_SIZE, PENALTY, ErrorScale, RidgeForecast

HORIZON = 10
QUIET = np.tile(np.array([0.0, 0.0, 3.0], dtype=np.float32), (HORIZON, 1))


def tick(model: RidgeForecast, features: np.ndarray, action: np.ndarray = QUIET[0]) -> None:
    """One full step."""
    model.tick(features[None].astype(np.float32), action[None], np.array([2.0]), np.array([2.0]))


def feed(model: RidgeForecast, features: np.ndarray, errors: np.ndarray, action: np.ndarray = QUIET[0]) -> None:
    """One question a tick, answered HORIZON ticks later."""
    for index, one in enumerate(features):
        if index >= HORIZON:
            moment = Moment(model.num_ticks - HORIZON + 1, features[index - HORIZON])
            tick(model, one, action)
            model.resolve(moment, HORIZON, float(errors[index]))
        else:
            tick(model, one, action)


def planted(num_ticks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose first one, HORIZON ticks before, moves the error by .8."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_ticks, 64)).astype(np.float32)
    errors = rng.normal(size=num_ticks) * 0.6
    errors[HORIZON:] += 0.8 * features[:-HORIZON, 0]
    return features, errors


def test_untrained_is_exactly_the_constant() -> None:
    """No outcome, no opinion: shift and log scale are zero to the bit."""
    model = RidgeForecast(HORIZON)
    tick(model, np.ones(64, dtype=np.float32))
    forecast = model.forecast(QUIET)
    assert (forecast.shift, forecast.log_scale) == (0.0, 0.0)


def test_forecast_equals_the_batch_ridge_solution() -> None:
    """With a handful of outcomes forgetting is negligible: the shift is that of the closed form."""
    features, errors = planted(60, 0)
    model = RidgeForecast(HORIZON)
    feed(model, features, errors)
    rows = features[: 60 - HORIZON].astype(np.float64)
    ones, since = np.full((len(rows), 1), INTERCEPT_SIZE), np.full((len(rows), 1), 3.0)
    jumps = np.zeros((len(rows), 2))
    design = np.hstack([ones, rows, jumps, since])
    ages = np.arange(len(rows))[::-1]
    weights = 0.998**ages
    gram = design.T @ (design * weights[:, None]) + PENALTY * np.eye(design.shape[1])
    solution = np.linalg.solve(gram, design.T @ (weights * np.clip(errors[HORIZON:], -5, 5)))
    inputs = np.concatenate([[INTERCEPT_SIZE], features[-1], [0.0, 0.0, 3.0]])
    assert model.forecast(QUIET).shift == pytest.approx(float(solution @ inputs), rel=1e-6)


def test_a_planted_feature_is_found_and_the_scale_shrinks() -> None:
    """After 600 outcomes the shift follows the feature, shrunk, and the error bar is smaller than the constant's."""
    features, errors = planted(600, 1)
    model = RidgeForecast(HORIZON)
    feed(model, features, errors)
    probe = np.zeros(64, dtype=np.float32)
    shifts: list[float] = []
    for level in (-2.0, 2.0):
        probe = probe.copy()
        probe[0] = level
        tick(model, probe)
        shifts.append(model.forecast(QUIET).shift)
    assert 0.2 < (shifts[1] - shifts[0]) / 4.0 < 0.8
    assert model.forecast(QUIET).log_scale < -0.08


def test_a_planned_jump_changes_the_forecast_when_jumps_moved_the_loss() -> None:
    """The actions that really were taken are what is learned from; the planned ones are what is asked about."""
    model, calm = RidgeForecast(HORIZON), np.zeros(64, dtype=np.float32)
    jump = np.array([2.0, 2.0, 0.0], dtype=np.float32)
    for index in range(300):
        jumped = index % 2 == 0
        start = Moment(model.num_ticks, calm)
        for at in range(HORIZON):
            tick(model, calm, jump if jumped and at == 0 else QUIET[0])
        model.resolve(start, HORIZON, 2.0 if jumped else 0.0)
    plan = QUIET.copy()
    plan[3] = jump
    assert model.forecast(plan).shift - model.forecast(QUIET).shift > 0.6


def test_a_shorter_horizon_is_corrected_in_proportion() -> None:
    """Half the learned horizon gets half the shift."""
    features, errors = planted(200, 2)
    model = RidgeForecast(HORIZON)
    feed(model, features, errors)
    whole, half = model.forecast(QUIET), model.forecast(QUIET[: HORIZON // 2])
    assert (half.shift, half.log_scale, half.epistemic) == pytest.approx(
        (whole.shift / 2, whole.log_scale / 2, whole.epistemic / 2)
    )


def test_one_absurd_outcome_does_not_bend_the_model() -> None:
    """An error of a million scales moves the forecast no more than one of five."""
    shifts: list[float] = []
    for outcome in (5.0, 1e6):
        model = RidgeForecast(HORIZON)
        features, errors = planted(30, 3)
        errors[-1] = outcome
        feed(model, features, errors)
        shifts.append(model.forecast(QUIET).shift)
    assert shifts[0] == shifts[1]


def test_error_scale_goes_from_one_to_the_sample() -> None:
    """The prior of weight 20 gives way to the errors' own variance, each error weighing .98 of the next."""
    scale = ErrorScale()
    assert scale.log_scale == 0.0
    for _ in range(20):
        scale.add(2.0)
    weight = (1 - 0.98**20) / 0.02
    assert scale.variance == pytest.approx((20 + 4 * weight) / (20 + weight))


def test_blocks_of_ticks_are_single_ticks() -> None:
    """In one block or one by one, what is forecast and what is learned from the actions is the same."""
    features, _ = planted(3 * HORIZON, 4)
    actions = np.random.default_rng(0).random((3 * HORIZON, 3)).astype(np.float32)
    said: list[object] = []
    for size in (1, 3 * HORIZON):
        model = RidgeForecast(HORIZON)
        for start in range(0, 3 * HORIZON, size):
            at = slice(start, start + size)
            model.tick(features[at].astype(np.float32), actions[at], np.zeros(size), np.zeros(size))
        model.resolve(Moment(2 * HORIZON, features[2 * HORIZON - 1].astype(np.float32)), HORIZON, 1.0)
        said.append(model.forecast(QUIET))
    assert said[0] == said[1]
