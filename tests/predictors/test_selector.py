"""The learned selector: honest scores, a gate that needs evidence, confidence by verdicts, exact resumption."""

import copy
from collections.abc import Mapping
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
import pytest
from references.blocks import joined, rows
from references.planted_runs import Shown, cycle_of, noise_losses, outcome_of, since_of, step_of, wave_losses

from hpt.config import HybridConfig, LearnerConfig
from hpt.history import NEVER
from hpt.learned.forecast_model import NOTHING, ForecastModel
from hpt.learned.learner import DynamicsLearner
from hpt.learned.ridge import RidgeForecast
from hpt.predictors.selector import FORECAST_INTERVAL_STEPS, LearnedSelector, build

K = 20
BASE = "0.8x1"
NAMES = ("ridge", "linear", "mlp", "rssm")


def make(name: str = "ridge", *, enabled: bool = True) -> LearnedSelector:
    """Cycles here are shorter than those the shipped interval between updates is for, so the RSSM has its own."""
    config = HybridConfig(predictor=name, total_steps=2000, full_steps=K, learner=LearnerConfig(enabled=enabled))
    if name != "rssm":
        return build(name, config)

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        learner = DynamicsLearner(num_arms=num_arms, max_horizon=max_horizon, seed=0, update_interval_steps=(K, K))
        return {name: learner, "ridge": RidgeForecast(num_arms, max_horizon)}

    return LearnedSelector(name, config, models)


OFF = HybridConfig(predictor="rssm", total_steps=2000, full_steps=K, learner=LearnerConfig(enabled=False))


def shown(selector: LearnedSelector) -> Shown:
    return Shown(selector, K)


def warm(name: str = "ridge", num_steps: int = 200) -> tuple[LearnedSelector, Shown]:
    run = shown(make(name))
    for _ in run.drive(noise_losses(num_steps, 0), K):
        pass
    return run.predictor, run


def nll_means(selector: LearnedSelector) -> dict[str, float]:
    return {name: score["nll_mean"] for name, score in selector.summary()["scores"].items()}


def as_stored(state: Any) -> Any:
    """A state as a checkpoint gives it back: tuples as lists, numpy scalars as numbers, nothing shared."""
    if isinstance(state, Mapping):
        return {str(key): as_stored(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [as_stored(value) for value in state]
    if isinstance(state, np.generic):
        return state.item()
    return copy.deepcopy(state)


def assert_equal(one: Any, other: Any) -> None:
    """Bitwise equality of two states."""
    if isinstance(one, Mapping):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    elif isinstance(one, (int, float, str, type(None))):
        assert one == other
    else:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_a_slow_recomputation_from_forecasts_made_before_their_outcome(name: str) -> None:
    """The published mean is the negative log density of each outcome under what was said H steps before it."""
    selector, losses = make(name), wave_losses(400, 1)
    run, horizon = shown(selector), selector.far or 0
    said: dict[int, dict[str, tuple[float, float]]] = {}
    for index, loss in enumerate(losses, 1):
        run.observe(step_of(index, loss, K, NEVER, 0))
        if index >= 30 and index % max(FORECAST_INTERVAL_STEPS, K) == 0:
            actions = np.zeros((horizon, 3), dtype=np.float32)
            actions[:, 2] = 3.0  # never jumped
            change, scale = run.trend.at(horizon)
            answers = {each: model.forecast(actions) for each, model in selector.models.items()}
            answers["constant"] = NOTHING
            said[index] = {each: answer.applied(run.trend.level, change, scale) for each, answer in answers.items()}
        if index % K == 0:
            run.end_cycle(cycle_of(index // K, K, 0))
    for each, mean in nll_means(selector).items():
        due = [(losses[at + horizon - 1], *said[at][each]) for at in said if at + horizon <= 400]
        expected = fmean(-np.log(NormalDist(middle, scale).pdf(loss)) for loss, middle, scale in due)
        assert mean == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("name", "size"), [("ridge", 1), ("linear", 7), ("mlp", 7), ("rssm", 7)])
def test_cycles_in_blocks_of_any_size_give_the_same_bits(name: str, size: int) -> None:
    """Shown cycles, single steps or sevens, every proposal, forecast and score is the same; no steps, no change."""
    losses, found = wave_losses(300, 8), list[list[object]]()
    for most in (size, K):
        run, told = shown(make(name)), list[object]()
        for cycle in range(1, 16):
            indices = range((cycle - 1) * K + 1, cycle * K + 1)
            steps = joined(step_of(index, losses[index - 1], K, since_of(index, K), 0) for index in indices)
            for start in range(0, K, most):
                run.observe(rows(steps, start, start + most))
                run.observe(rows(steps, 0, 0))
            told.append((run.end_cycle(cycle_of(cycle, K, 0)), run.predictor.forecast(run.trend, 3)))
        found.append([*told, run.predictor.summary()])
    assert found[0] == found[1]


def test_an_outcome_scores_what_was_said_whatever_happened_in_between() -> None:
    """Two runs that part after step 120 and meet in the outcome of what was asked at 120 score it the same."""
    losses = wave_losses(120 + (make().far or 0), 2)
    parted = losses.copy()
    parted[120:-1] += 0.5
    scored: list[list[float]] = []
    for path in (losses, parted):
        selector, nlls = make(), list[float]()
        run = shown(selector)
        for _ in run.drive(path[:-1], K):
            pass
        selector.scores.scores.add = lambda name, nll, seen=nlls: seen.append(nll)  # type: ignore[method-assign]
        run.observe(step_of(len(path), path[-1], K, since_of(len(path), K), 0))
        scored.append(nlls)
    assert len(scored[0]) == 2  # ridge and the constant
    assert scored[0] == scored[1]


def test_ridge_beats_the_constant_where_there_is_structure_and_is_then_who_speaks() -> None:
    """On a wave under noise the model leads, and the public forecast is its own."""
    selector = make()
    run = shown(selector)
    for _ in run.drive(wave_losses(1000, 3), K):
        pass
    scores, horizon = nll_means(selector), selector.far or 0
    assert scores["ridge"] < scores["constant"] - 0.1
    assert selector.leader() == "ridge"
    forecast, (change, _) = selector.forecast(run.trend, horizon), run.trend.at(horizon)
    assert forecast is not None
    assert forecast.mean != run.trend.level + change


@pytest.mark.parametrize("seed", [1, 2])
def test_on_pure_noise_the_constant_leads_and_speaks(seed: int) -> None:
    """With nothing to forecast no model passes the gate, and the forecast is the trend's."""
    selector = make("linear")
    run = shown(selector)
    for _ in run.drive(noise_losses(1000, seed), K):
        pass
    assert selector.leader() == "constant"
    forecast, (change, scale) = selector.forecast(run.trend, 7), run.trend.at(7)
    assert forecast is not None
    assert (forecast.mean, forecast.scale) == (run.trend.level + change, scale)


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_that_is_switched_off_is_the_constant(name: str) -> None:
    """Without learning every model scores exactly as the constant does, so it can never lead."""
    selector = make(name, enabled=False) if name != "rssm" else build(name, OFF)
    for step, _ in shown(selector).drive(wave_losses(500, 4), K):
        selector.judge(outcome_of(step, BASE, good=True, value=0.01))
    scores = nll_means(selector)
    assert set(scores.values()) == {scores["constant"]}
    assert selector.leader() == "constant"


def test_base_arm_is_played_until_a_model_has_earned_the_choice() -> None:
    """Before any value is known the proposal is the base preset's own, number for number."""
    selector, run = warm()
    stats = cycle_of(11, K, 0)
    proposal, base = run.propose(stats), selector.base.propose(stats, run.trend, 75)
    assert proposal is not None
    assert base is not None
    assert (proposal.delta, proposal.horizon, proposal.arm) == (base.delta, base.horizon, base.arm)
    assert proposal.arm == BASE
    assert (proposal.value, proposal.value_lower) == (None, None)


def play(run: Shown, values: dict[str, float], rounds: int) -> list[str]:
    """Fork every arm of `values` in turn, its value given in units of noise; returns the arms proposed."""
    rng, played = np.random.default_rng(0), list[str]()
    for step, proposal in run.drive(noise_losses(200 + K * rounds, 5), K, first=201):
        played.append("none" if proposal is None else proposal.arm)
        arm = list(values)[len(played) % len(values)]
        worth = (values[arm] + 0.01 * rng.normal()) * run.trend.noise
        run.predictor.judge(outcome_of(step, arm, good=True, value=worth))
    return played


def test_learned_choice_finds_the_planted_better_arm_after_some_forks_and_not_before_three() -> None:
    """An arm worth three times the base arm is played in the end; the first proposals are the base arm."""
    played = play(warm()[1], {BASE: 0.1, "0.8x0.5": 0.02, "0.8x1.5": 0.3}, 12)
    assert played[:3] == [BASE] * 3
    assert played[-3:] == ["0.8x1.5"] * 3


def test_an_arm_is_the_preset_at_a_multiple_of_its_gain() -> None:
    """Half-way through its window the default is (.475, 1.95); the arm at 1.5 is (.475, 2.925)."""
    selector, run = warm()
    assert selector.arms == ("0.8x0.5", BASE, "0.8x1.5")
    play(run, {BASE: 0.1, "0.8x1.5": 0.3}, 12)
    proposal = run.propose(cycle_of(23, K, 0))
    assert proposal is not None
    assert proposal.arm == "0.8x1.5"
    assert (proposal.delta.pull_back, proposal.delta.gain) == pytest.approx((0.475, 2.925))


def test_the_value_comes_with_the_choice_in_units_of_the_loss() -> None:
    """Once values exist the proposal carries the expected loss saved, near the planted one, and a lower bound."""
    _, run = warm()
    play(run, {BASE: 0.1, "0.8x1.5": 0.3}, 12)
    proposal = run.propose(cycle_of(23, K, 0))
    assert proposal is not None
    assert proposal.value == pytest.approx(0.3 * run.trend.noise, rel=0.3)
    assert proposal.value_lower is not None
    assert proposal.value is not None
    assert 0.0 < proposal.value_lower < proposal.value


@pytest.mark.parametrize("values", [{BASE: -0.2}, {BASE: -0.2, "0.8x1.5": -0.4, "0.8x0.5": -0.1}])
def test_none_is_played_when_every_value_is_negative(values: dict[str, float]) -> None:
    """When jumps lose, whichever arm was tried, the selector ends with no jump."""
    selector, run = warm()
    for index in range(8):
        proposal = run.propose(cycle_of(11 + index, K, 0))
        if proposal is None:
            break
        arm = list(values)[index % len(values)]
        step = (11 + index) * K
        selector.judge(outcome_of(step, arm, good=False, value=values[arm] * run.trend.noise))
    assert run.propose(cycle_of(30, K, 0)) is None
    assert selector.summary()["arms_played"]["none"] >= 1


def test_values_are_judged_by_what_was_said_before_them() -> None:
    """The first value of a run is scored against the prior, however far off that was."""
    selector, run = warm()
    stats = cycle_of(11, K, 0)
    means, sds = selector.models["ridge"].values()
    assert run.propose(stats) is not None
    selector.judge(outcome_of(stats.step, BASE, good=True, value=0.5 * run.trend.noise))
    at = selector.arms.index(BASE)
    expected = -np.log(NormalDist(means[at], sds[at]).pdf(0.5))
    assert selector.values.scores.mean("ridge") == pytest.approx(expected, rel=1e-9)


def test_confidence_starts_high_and_falls_below_the_threshold_after_bad_verdicts() -> None:
    """The base counts as earned until the run's own evidence says otherwise."""
    (selector, run), seen = warm(), list[float]()
    for index in range(8):
        proposal = run.propose(cycle_of(11 + index, K, 0))
        assert proposal is not None
        assert proposal.confidence is not None
        seen.append(proposal.confidence)
        selector.judge(outcome_of((11 + index) * K, BASE, good=False))
    assert seen[0] > 0.8
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.3


def test_confidence_is_calibrated_on_a_planted_problem() -> None:
    """With verdicts that depend on a feature and a base rate of a half, confidence beats both base rates."""
    selector = make()
    for step, proposal in shown(selector).drive(noise_losses(3000, 6), K):
        features = selector.features()
        if proposal is not None and features is not None:
            selector.judge(outcome_of(step, BASE, good=bool(features[:8].sum() > 0.0)))
    confidence = selector.summary()["confidence"]
    assert confidence["skill"] == "skill"
    assert confidence["brier"] < 0.9 * confidence["sample_rate_brier"]


def test_confidence_is_computed_once_a_step() -> None:
    """Between steps the cached number is returned; a new step asks the model again."""
    (selector, run), asked = warm(), list[int]()
    model = selector.models["ridge"]
    success = model.success
    model.success = lambda: (asked.append(1), success())[1]  # pyright: ignore[reportAttributeAccessIssue]
    run.observe(step_of(201, 2.0, K, NEVER, 0))
    assert selector.confidence() == selector.confidence()
    assert len(asked) == 1
    run.observe(step_of(202, 2.0, K, NEVER, 0))
    selector.confidence()
    assert len(asked) == 2


def test_an_outcome_of_another_step_teaches_nothing() -> None:
    """Only the proposal that was made is judged; a stranger's outcome leaves the confidence as it was."""
    selector, run = warm()
    before = selector.confidence()
    assert run.propose(cycle_of(11, K, 0)) is not None
    selector.judge(outcome_of(999, BASE, good=False))
    assert selector.confidence() == before
    assert selector.reliability.count == 0


def test_a_value_without_a_sign_is_no_verdict() -> None:
    """A fork that measured -1 +- 1 thousandth says nothing bad about the jump; -3 +- 1 does."""
    seen: list[float] = []
    for value in (-0.001, -0.003):
        selector, run = warm()
        assert run.propose(cycle_of(11, K, 0)) is not None
        before = selector.confidence()
        selector.judge(outcome_of(11 * K, BASE, good=False, value=value, value_se=0.001))
        assert selector.values.count == 1
        seen.append(before - selector.confidence())
    assert seen[0] == 0.0
    assert seen[1] > 0.05


def test_a_rollback_voids_pending_forecasts() -> None:
    """After a step back in time no outcome is taken from the path that was undone."""
    selector, run = warm()
    count, pending = selector.scores.scores.count("ridge"), len(selector.scores.pending)
    assert pending > 0
    run.observe(joined(step_of(index, 2.0, K, NEVER, 0) for index in range(190, 190 + (selector.far or 0) - 5)))
    assert selector.scores.scores.count("ridge") == count
    assert selector.summary()["forecasts_void"] == pending


def test_beyond_its_horizon_the_forecast_is_the_trend() -> None:
    """What was never scored is not claimed, even by a leading model."""
    config = HybridConfig(predictor="ridge", total_steps=2000, full_steps=60, max_predict_steps=10)
    selector = build("ridge", config)
    run = Shown(selector, 60)
    for _ in run.drive(wave_losses(1500, 3, period=20.0), 60):
        pass
    assert selector.leader() == "ridge"
    far, (change, scale) = selector.forecast(run.trend, 60), run.trend.at(60)
    assert far is not None
    assert (far.mean, far.scale) == (run.trend.level + change, scale)


def test_without_a_step_there_is_neither_forecast_nor_features() -> None:
    """Before the first step there is no opinion."""
    run = shown(make())
    assert run.predictor.forecast(run.trend, 5) is None
    assert run.predictor.features() is None
    assert run.propose(cycle_of(5, K, 0)) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_selector_continues_bit_for_bit(name: str) -> None:
    """Saved mid-cycle with forecasts pending and a proposal open, a new object repeats every number."""
    losses = wave_losses(400, 7)
    whole = shown(make(name))
    for step, _ in whole.drive(losses[:260], K):
        if step < 240:
            whole.predictor.judge(outcome_of(step, BASE, good=step % 60 == 0, value=0.01))
    state = as_stored(whole.predictor.state_dict())
    assert state["scores"]["pending"]
    assert state["pending"] is not None
    resumed = shown(make(name))
    resumed.predictor.load_state_dict(state)
    resumed.trend.load_state_dict(whole.trend.state_dict())
    for each in (whole, resumed):
        each.observe(joined(step_of(index, losses[index - 1], K, index - 260, 0) for index in range(261, 271)))
        each.predictor.judge(outcome_of(260, BASE, good=True, value=0.005))
    pairs = zip(whole.drive(losses, K, first=271), resumed.drive(losses, K, first=271), strict=True)
    assert all(one == other for one, other in pairs)
    assert_equal(as_stored(whole.predictor.state_dict()), as_stored(resumed.predictor.state_dict()))
    assert whole.predictor.summary() == resumed.predictor.summary()
