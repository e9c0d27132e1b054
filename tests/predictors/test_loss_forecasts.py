"""Forecasts of the loss: honest scores, a leader that needs evidence, exact resumption."""

import math
from statistics import NormalDist, fmean

import numpy as np
import pytest
from references.blocks import joined, rows
from references.planted_runs import Shown, as_stored, cycle_of, noise_losses, outcome_of, since_of, step_of, wave_losses
from references.same import assert_same

from hpt.config import HybridConfig, LearnerConfig
from hpt.history import NEVER
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats
from hpt.learned.features import FeatureEncoder
from hpt.learned.forecast_model import NOTHING, ForecastModel
from hpt.learned.learner import DynamicsLearner
from hpt.learned.loss_trend import LossTrend
from hpt.learned.mlp import LinearForecast, MlpForecast
from hpt.learned.ridge import RidgeForecast
from hpt.predictors.loss_forecasts import FORECAST_INTERVAL_STEPS, LossForecasts, horizon_ticks

K, FAR = 20, 30
NAMES = ("ridge", "linear", "mlp", "rssm")
JUMP = WeightDelta(0.475, 1.95, 0.8, orthogonal=True)


class Forecaster(LossForecasts):
    """Announces a jump at the end of every cycle."""

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> None:
        self.announce(JUMP, stats)


def make(name: str = "ridge", *, enabled: bool = True) -> Forecaster:
    """Cycles here are shorter than those the shipped interval between updates is for, so the RSSM has its own."""
    config = HybridConfig(total_steps=2000, full_steps=K, learner=LearnerConfig(enabled=enabled))
    horizon = horizon_ticks(config, FAR)
    models: dict[str, ForecastModel] = {"ridge": RidgeForecast(horizon)}
    if name == "rssm":
        models = {name: DynamicsLearner(max_horizon=horizon, seed=0, update_interval_steps=(K, K)), **models}
    elif name != "ridge":
        models = {name: LinearForecast(horizon) if name == "linear" else MlpForecast(horizon, 0), **models}
    return Forecaster(config, models, FAR)


def shown(name: str = "ridge") -> Shown:
    return Shown(make(name), K)


def nll_means(forecasts: LossForecasts) -> dict[str, float]:
    return {name: score["nll_mean"] for name, score in forecasts.summary()["scores"].items()}


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_a_slow_recomputation_from_forecasts_made_before_their_outcome(name: str) -> None:
    """The published mean is the negative log density of each outcome under what was said H steps before it."""
    forecasts, losses = make(name), wave_losses(400, 1)
    run, horizon = Shown(forecasts, K), forecasts.far
    said: dict[int, dict[str, tuple[float, float]]] = {}
    for index, loss in enumerate(losses, 1):
        run.observe(step_of(index, loss, K, NEVER, 0))
        if index >= 30 and index % max(FORECAST_INTERVAL_STEPS, K) == 0:
            actions = np.zeros((horizon, 3), dtype=np.float32)
            actions[:, 2] = 3.0  # never jumped
            change, scale = run.trend.at(horizon)
            answers = {each: model.forecast(actions) for each, model in forecasts.models.items()}
            answers["constant"] = NOTHING
            said[index] = {each: answer.applied(run.trend.level, change, scale) for each, answer in answers.items()}
        if index % K == 0:
            forecasts.end_cycle(cycle_of(index // K, K, 0), run.trend)
    for each, mean in nll_means(forecasts).items():
        due = [(losses[at + horizon - 1], *said[at][each]) for at in said if at + horizon <= 400]
        expected = fmean(-np.log(NormalDist(middle, scale).pdf(loss)) for loss, middle, scale in due)
        assert mean == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("name", "size"), [("ridge", 1), ("linear", 7), ("mlp", 7), ("rssm", 7)])
def test_cycles_in_blocks_of_any_size_give_the_same_bits(name: str, size: int) -> None:
    """Shown cycles, single steps or sevens, every forecast and score is the same."""
    losses, found = wave_losses(300, 8), list[list[object]]()
    for most in (size, K):
        run, told = shown(name), list[object]()
        for cycle in range(1, 16):
            indices = range((cycle - 1) * K + 1, cycle * K + 1)
            steps = joined(step_of(index, losses[index - 1], K, since_of(index, K), 0) for index in indices)
            for start in range(0, K, most):
                run.observe(rows(steps, start, start + most))
            run.end_cycle(cycle_of(cycle, K, 0))
            told.append(run.predictor.forecast(run.trend, 3))
        found.append([*told, run.predictor.summary()])
    assert found[0] == found[1]


def test_an_outcome_scores_what_was_said_whatever_happened_in_between() -> None:
    """Two runs that part after step 120 and meet in the outcome of what was asked at 120 score it the same."""
    losses = wave_losses(120 + FAR, 2)
    parted = losses.copy()
    parted[120:-1] += 0.5
    scored: list[list[float]] = []
    for path in (losses, parted):
        run, nlls = shown(), list[float]()
        for _ in run.drive(path[:-1], K):
            pass
        run.predictor.scores.scores.add = lambda name, nll, seen=nlls: seen.append(nll)
        run.observe(step_of(len(path), path[-1], K, since_of(len(path), K), 0))
        scored.append(nlls)
    assert len(scored[0]) == 2  # ridge and the constant
    assert scored[0] == scored[1]


def test_ridge_beats_the_constant_where_there_is_structure_and_is_then_who_speaks() -> None:
    """On a wave under noise the model leads, and the public forecast is its own."""
    run = shown()
    for _ in run.drive(wave_losses(1000, 3), K):
        pass
    scores = nll_means(run.predictor)
    assert scores["ridge"] < scores["constant"] - 0.1
    assert run.predictor.leader() == "ridge"
    forecast, (change, _) = run.predictor.forecast(run.trend, FAR), run.trend.at(FAR)
    assert forecast is not None
    assert forecast.mean != run.trend.level + change


@pytest.mark.parametrize("seed", [1, 2])
def test_on_pure_noise_the_constant_leads_and_speaks(seed: int) -> None:
    """With nothing to forecast no model passes the gate, and the forecast is the trend's."""
    run = shown("linear")
    for _ in run.drive(noise_losses(1000, seed), K):
        pass
    assert run.predictor.leader() == "constant"
    forecast, (change, scale) = run.predictor.forecast(run.trend, 7), run.trend.at(7)
    assert forecast is not None
    assert (forecast.mean, forecast.scale) == (run.trend.level + change, scale)


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_that_is_switched_off_is_the_constant(name: str) -> None:
    """Without learning every model scores exactly as the constant does, so it can never lead."""
    forecasts = make(name, enabled=False)
    for step, _ in Shown(forecasts, K).drive(wave_losses(500, 4), K):
        forecasts.judge(outcome_of(step, "full", good=True))
    scores = nll_means(forecasts)
    assert set(scores.values()) == {scores["constant"]}
    assert forecasts.leader() == "constant"


def test_a_rollback_voids_pending_forecasts() -> None:
    """After a step back in time no outcome is taken from the path that was undone."""
    run = shown()
    for _ in run.drive(noise_losses(200, 0), K):
        pass
    scores = run.predictor.scores
    count, pending = scores.scores.count("ridge"), len(scores.pending)
    assert pending > 0
    run.observe(joined(step_of(index, 2.0, K, NEVER, 0) for index in range(190, 190 + FAR - 5)))
    assert scores.scores.count("ridge") == count
    assert run.predictor.summary()["forecasts_void"] == pending


def test_beyond_its_horizon_the_forecast_is_the_trend() -> None:
    """What was never scored is not claimed, even by a leading model."""
    config = HybridConfig(total_steps=2000, full_steps=60)
    run = Shown(Forecaster(config, {"ridge": RidgeForecast(horizon_ticks(config, 10))}, 10), 60)
    for _ in run.drive(wave_losses(1500, 3, period=20.0), 60):
        pass
    assert run.predictor.leader() == "ridge"
    far, (change, scale) = run.predictor.forecast(run.trend, 60), run.trend.at(60)
    assert (far.mean, far.scale) == (run.trend.level + change, scale)


def test_without_a_step_there_is_neither_forecast_nor_features() -> None:
    """Before the first step there is no opinion."""
    run = shown()
    assert run.predictor.forecast(run.trend, 5) is None
    assert run.predictor.features is None


def test_raw_features_are_the_encoders_own() -> None:
    """In units of their own they are what an encoder shown the same steps and cycles holds."""
    run, encoder = shown(), FeatureEncoder(K)
    for cycle in range(1, 6):
        indices = range((cycle - 1) * K + 1, cycle * K + 1)
        steps = joined(step_of(index, 2.0 + 0.1 * math.sin(index), K, NEVER, 0) for index in indices)
        run.observe(steps)
        newest = encoder.observe_steps(steps)[-1]
        np.testing.assert_array_equal(run.predictor.features, newest)
        run.end_cycle(cycle_of(cycle, K, 0))
        encoder.observe_cycle(cycle_of(cycle, K, 0))
        np.testing.assert_array_equal(run.predictor.raw_features, encoder.raw())


@pytest.mark.parametrize("name", NAMES)
def test_saved_forecasts_continue_bit_for_bit(name: str) -> None:
    """Saved mid-cycle with forecasts pending, a new object repeats every number."""
    losses, whole, resumed = wave_losses(400, 7), shown(name), shown(name)
    for step, _ in whole.drive(losses[:260], K):
        if step < 240:
            whole.predictor.judge(outcome_of(step, "full", good=step % 60 == 0))
    state = as_stored(whole.predictor.state_dict())
    assert state["scores"]["pending"]
    resumed.predictor.load_state_dict(state)
    resumed.trend.load_state_dict(whole.trend.state_dict())
    for each in (whole, resumed):
        each.observe(joined(step_of(index, losses[index - 1], K, index - 260, 0) for index in range(261, 271)))
        each.predictor.judge(outcome_of(260, "full", good=True))
        for _ in each.drive(losses, K, first=271):
            pass
    assert_same(as_stored(whole.predictor.state_dict()), as_stored(resumed.predictor.state_dict()))
    assert whole.predictor.summary() == resumed.predictor.summary()
    assert whole.predictor.forecast(whole.trend, 7) == resumed.predictor.forecast(resumed.trend, 7)
