"""The constant forecaster: exactly as defined, honest about its errors, and blind to what has not happened yet."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.errors import CheckpointError
from hpt.learned.forecast_model import gaussian_nll
from hpt.learned.loss_trend import LossTrend, TrendPath, horizon_grid


def watched(losses: list[float], max_horizon: int) -> LossTrend:
    trend = LossTrend(max_horizon)
    trend.observe(np.array(losses))
    return trend


def levels_of(losses: list[float]) -> list[float]:
    """Weighted means of each beginning of the list, weights (15/16)^age."""
    levels: list[float] = []
    for end in range(1, len(losses) + 1):
        weights = (15 / 16) ** np.arange(end - 1, -1, -1)
        levels.append(float(weights @ losses[:end] / weights.sum()))
    return levels


def slow_moments(losses: list[float], horizon: int, noise: float) -> tuple[float, float]:
    """Mean and variance of loss[t] - level[t - h], written out as weighted sums with the prior as one more term."""
    levels = levels_of(losses)
    outcomes = [losses[place] - levels[place - horizon] for place in range(horizon, len(losses))]
    gains = [max(1 / 200, 4 / (number + 11)) for number in range(1, len(outcomes) + 1)]
    weights = [gain * float(np.prod([1 - later for later in gains[place + 1 :]])) for place, gain in enumerate(gains)]
    prior = 1 - sum(weights)
    mean = sum(weight * outcome for weight, outcome in zip(weights, outcomes, strict=True))
    square = sum(weight * outcome**2 for weight, outcome in zip(weights, outcomes, strict=True))
    prior_variance = noise**2 * (1 + (horizon - 1) / 256)
    return mean, prior * prior_variance + square - mean**2


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(2, 300))
def test_forecasts_equal_the_slow_definition(seed: int, count: int) -> None:
    """At every horizon of the grid, mean and scale are the weighted moments of the outcomes seen, plus the prior."""
    generator = np.random.default_rng(seed)
    losses = (2 + np.cumsum(0.02 * generator.standard_normal(count)) + 0.1 * generator.standard_normal(count)).tolist()
    trend = watched(losses, 75)
    assert trend.level == pytest.approx(levels_of(losses)[-1], rel=1e-12)
    for horizon in horizon_grid(75):
        mean, variance = slow_moments(losses, horizon, trend.noise)
        assert trend.at(horizon)[0] == pytest.approx(mean, rel=1e-8, abs=1e-12)
        assert trend.at(horizon)[1] == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_grid_is_powers_of_two_and_the_end() -> None:
    """1, 2, 4, ... and the largest horizon, not repeated when it is a power itself; another one where asked for."""
    assert horizon_grid(75) == (1, 2, 4, 8, 16, 32, 64, 75)
    assert horizon_grid(64) == (1, 2, 4, 8, 16, 32, 64)
    assert horizon_grid(1) == (1,)
    assert horizon_grid(64, 20) == (1, 2, 4, 8, 16, 20, 32, 64)
    assert horizon_grid(8, 75) == (1, 2, 4, 8, 75)


def test_between_the_grid_it_is_linear() -> None:
    """The forecast for 24 steps is half-way between those for 16 and 32, and the curve agrees with single forecasts."""
    trend = watched(np.random.default_rng(0).standard_normal(200).tolist(), 75)
    low, high = np.array(trend.at(16)), np.array(trend.at(32))
    np.testing.assert_allclose(trend.at(24), (low + high) / 2, rtol=1e-12)
    means, scales = trend.curve(75)
    np.testing.assert_array_equal(np.stack([means, scales], axis=1), [trend.at(h) for h in range(1, 76)])


def test_without_outcomes_it_expects_no_change() -> None:
    """Before any outcome at a horizon, the mean is 0 and the variance grows as that of exponential smoothing."""
    trend = watched([2.0, 2.1, 1.9, 2.05], 64)
    mean, scale = trend.at(64)
    assert mean == 0.0
    assert scale == pytest.approx(trend.noise * np.sqrt(1 + 63 / 256), rel=1e-12)


def test_one_loss_is_enough_to_forecast() -> None:
    """After a single loss the level is that loss and the noise a tenth of it."""
    trend = watched([3.0], 8)
    assert trend.level == 3.0
    assert trend.noise == pytest.approx(0.3)
    assert trend.at(8)[1] > 0.3


def test_a_steady_decline_is_extrapolated() -> None:
    """On a - b t the level lags by 15 steps, so the change over h steps is -b (h + 15), and its scale goes to zero."""
    trend = watched([5.0 - 0.001 * step for step in range(3000)], 75)
    for horizon in (1, 10, 75):
        mean, scale = trend.at(horizon)
        assert mean == pytest.approx(-0.001 * (horizon + 15), rel=1e-6)
        assert scale < 1e-5


def test_scale_is_honest_on_noise() -> None:
    """On white noise the score comes within 0.03 nats of the entropy of loss and level together."""
    generator = np.random.default_rng(1)
    trend, scores = LossTrend(16), []
    for loss in (2 + 0.1 * generator.standard_normal(4000)).tolist():
        if trend.num_observed > 500:
            mean, scale = trend.at(1)
            scores.append(gaussian_nll((loss - trend.level - mean) / scale, 0.0) + np.log(scale))
        trend.observe(np.array([loss]))
    best = 0.5 * np.log(2 * np.pi * np.e) + np.log(0.1 * np.sqrt(1 + (1 / 16) / (2 - 1 / 16)))
    assert np.mean(scores) == pytest.approx(best, abs=0.03)  # standard error .012; 200 outcomes cost .005


def test_errors_far_ahead_have_unit_size() -> None:
    """Under autocorrelated noise on a falling loss, errors 20 steps ahead average one predicted scale."""
    generator = np.random.default_rng(2)
    noise, trend, errors, due = 0.0, LossTrend(40), [], {}
    for step in range(6000):
        noise = 0.9 * noise + 0.05 * generator.standard_normal()
        loss = 1 + 20 / (step + 20) + noise
        trend.observe(np.array([loss]))
        if step in due:
            mean, scale = due.pop(step)
            errors.append((loss - mean) / scale)
        if step > 500:
            mean, scale = trend.at(20)
            due[step + 20] = trend.level + mean, scale
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(1.0, abs=0.15)  # 5500 errors, 100 of them independent


def test_one_spike_hardly_moves_the_noise() -> None:
    """A loss a thousand sigmas out raises the noise by no more than sqrt(1 + 25/64), its clipped share."""
    trend = watched((2 + 0.1 * np.random.default_rng(4).standard_normal(500)).tolist(), 8)
    before = trend.noise
    trend.observe(np.array([102.0]))
    assert before < trend.noise <= before * np.sqrt(1 + 25 / 64)


def test_a_constant_loss_still_has_a_scale() -> None:
    """When nothing ever moves the scale is small but above zero, as scores divide by it."""
    trend = watched([2.0] * 3000, 8)
    assert 0 < trend.at(8)[1] < 1e-5
    assert trend.noise > 0


def test_non_finite_losses_are_refused() -> None:
    """A skipped update is not an observation; passing one is a bug."""
    with pytest.raises(AssertionError, match="skipped"):
        LossTrend(8).observe(np.array([float("nan")]))


@pytest.mark.parametrize("split", [1, 30, 450])
def test_state_continues_bit_for_bit(split: int) -> None:
    """Through JSON and back half-way, every later forecast is the same bits."""
    losses = np.random.default_rng(5).standard_normal(500).tolist()
    whole, second = watched(losses, 75), LossTrend(75)
    second.load_state_dict(json.loads(json.dumps(watched(losses[:split], 75).state_dict())))
    for loss in losses[split:]:
        second.observe(np.array([loss]))
    assert whole.state_dict() == second.state_dict()
    np.testing.assert_array_equal(whole.curve(75), second.curve(75))


def test_state_of_another_horizon_is_refused() -> None:
    """A trend with other horizons cannot continue the saved one."""
    with pytest.raises(CheckpointError, match="saved with 9 levels, this one has 17"):
        LossTrend(16).load_state_dict(LossTrend(8).state_dict())


def columns(path: TrendPath) -> np.ndarray:
    """All that a path tells, (6, n)."""
    return np.stack([path.level, path.noise, path.next_mean, path.next_scale, path.far_mean, path.far_scale])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(1, 60), cuts=st.sets(st.integers(1, 59)), far=st.integers(1, 40))
def test_a_path_is_what_was_said_one_loss_at_a_time(seed: int, count: int, cuts: set[int], far: int) -> None:
    """Bit for bit, however the losses are split into blocks: level, noise, and forecasts before and after each."""
    losses = 2 + 0.1 * np.random.default_rng(seed).standard_normal(count)
    single, expected = LossTrend(32, far), list[tuple[float, ...]]()
    for loss in losses:
        change, scale = single.at(1) if single.num_observed else (np.nan, np.nan)
        following = single.level + change, scale
        single.observe(np.array([loss]))
        change, scale = single.at(far)
        expected.append((single.level, single.noise, *following, single.level + change, scale))
    trend = LossTrend(32, far)
    blocks = np.split(losses, sorted(cut for cut in cuts if cut < count))
    paths = np.concatenate([columns(trend.observe(block)) for block in blocks], axis=1)
    np.testing.assert_array_equal(paths, np.array(expected).T)


def test_without_a_far_horizon_nothing_is_said_of_it() -> None:
    """NaN, as for the forecast of the very first loss."""
    path = LossTrend(8).observe(np.array([2.0, 2.1]))
    assert np.isnan(path.far_mean).all()
    assert np.isnan(path.far_scale).all()
    assert np.isnan(path.next_mean).tolist() == [True, False]


def test_a_copy_goes_its_own_way() -> None:
    """A cycle absorbed on a copy leaves the original where it was, and the copy is then ahead by that cycle."""
    losses = 2 + 0.1 * np.random.default_rng(6).standard_normal(60)
    trend = LossTrend(16, 20)
    trend.observe(losses[:40])
    before, ahead = trend.state_dict(), trend.copy()
    ahead.observe(losses[40:])
    assert trend.state_dict() == before
    trend.observe(losses[40:])
    assert trend.state_dict() == ahead.state_dict()
