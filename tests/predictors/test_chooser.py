"""The learned chooser: honest scores, a gate that needs evidence, confidence by verdicts, exact resumption."""

import copy
from collections.abc import Mapping
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
import pytest
from references.planted_runs import cycle_of, drive, noise_losses, outcome_of, step_of, wave_losses

from hpt.config import HybridConfig, LearnerConfig
from hpt.learned.forecast import Correction
from hpt.predictors import linear, mlp, ridge, rssm
from hpt.predictors.chooser import LearnedChooser

K = 20
BASE = "0.8x1"
# Cycles here are shorter than those the shipped intervals are for.
EVERY_CYCLE: dict[str, Any] = {"update_interval_steps": 1, "forecast_interval_steps": 1}
BUILD = {"ridge": ridge.build, "linear": linear.build, "mlp": mlp.build, "rssm": rssm.build}


def make(name: str = "ridge", **learner: Any) -> LearnedChooser:
    config = HybridConfig(
        predictor=name, total_steps=2000, full_steps=K, learner=LearnerConfig(**EVERY_CYCLE | learner)
    )
    return BUILD[name](config, 1)


def warm(name: str = "ridge", num_steps: int = 200) -> LearnedChooser:
    chooser = make(name)
    for _ in drive(chooser, noise_losses(num_steps, 0), K):
        pass
    return chooser


def nll_means(chooser: LearnedChooser) -> dict[str, float]:
    return {name: score["nll_mean"] for name, score in chooser.summary()["scores"].items()}


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


@pytest.mark.parametrize("name", list(BUILD))
def test_scores_equal_a_slow_recomputation_from_forecasts_made_before_their_outcome(name: str) -> None:
    """The published mean is the negative log density of each outcome under what was said H steps before it."""
    chooser, losses = make(name), wave_losses(400, 1)
    said: dict[int, dict[str, tuple[float, float]]] = {}
    for index, loss in enumerate(losses, 1):
        chooser.observe(step_of(index, loss, K, None, 0))
        if index >= 30 and index % (K // 2) == 0:
            actions = np.zeros((chooser.horizon, 3), dtype=np.float32)
            actions[:, 2] = 3.0  # never jumped
            change, scale = chooser.trend.at(chooser.horizon)
            answers = {each: model.forecast(actions) for each, model in chooser.models.items()}
            answers["constant"] = Correction(0.0, 0.0, 0.0)
            said[index] = {each: answer.applied(chooser.trend.level, change, scale) for each, answer in answers.items()}
        if index % K == 0:
            chooser.end_cycle(cycle_of(index // K, K, 0))
    for each, mean in nll_means(chooser).items():
        due = [(losses[at + chooser.horizon - 1], *said[at][each]) for at in said if at + chooser.horizon <= 400]
        expected = fmean(-np.log(NormalDist(middle, scale).pdf(loss)) for loss, middle, scale in due)
        assert mean == pytest.approx(expected, rel=1e-9)


def test_an_outcome_scores_what_was_said_whatever_happened_in_between() -> None:
    """Two runs that part after step 100 and meet in the outcome of what was asked at 100 score it the same."""
    losses = wave_losses(100 + make().horizon, 2)
    parted = losses.copy()
    parted[100:-1] += 0.5
    scored: list[list[float]] = []
    for path in (losses, parted):
        chooser, nlls = make(), list[float]()
        for _ in drive(chooser, path[:-1], K):
            pass
        chooser.prequential.scores.add = lambda name, nll, seen=nlls: seen.append(nll)  # type: ignore[method-assign]
        chooser.observe(step_of(len(path), path[-1], K, None, 0))
        scored.append(nlls)
    assert len(scored[0]) == 2  # ridge and the constant
    assert scored[0] == scored[1]


def test_ridge_beats_the_constant_where_there_is_structure_and_is_then_who_speaks() -> None:
    """On a wave under noise the model leads, and the public forecast is its own."""
    chooser = make()
    for _ in drive(chooser, wave_losses(1000, 3), K):
        pass
    scores = nll_means(chooser)
    assert scores["ridge"] < scores["constant"] - 0.1
    assert chooser.leader() == "ridge"
    forecast, (change, _) = chooser.forecast(chooser.horizon), chooser.trend.at(chooser.horizon)
    assert forecast is not None
    assert forecast.mean != chooser.trend.level + change


@pytest.mark.parametrize("seed", [1, 2])
def test_on_pure_noise_the_constant_leads_and_speaks(seed: int) -> None:
    """With nothing to forecast no model passes the gate, and the forecast is the trend's."""
    chooser = make("linear")
    for _ in drive(chooser, noise_losses(1000, seed), K):
        pass
    assert chooser.leader() == "constant"
    forecast, (change, scale) = chooser.forecast(7), chooser.trend.at(7)
    assert forecast is not None
    assert (forecast.mean, forecast.scale) == (chooser.trend.level + change, scale)


@pytest.mark.parametrize("name", list(BUILD))
def test_a_learner_that_is_switched_off_is_the_constant(name: str) -> None:
    """Without learning every model scores exactly as the constant does, so it can never lead."""
    chooser = make(name, enabled=False)
    for step, _ in drive(chooser, wave_losses(500, 4), K):
        chooser.judge(outcome_of(step, BASE, good=True, value=0.01))
    scores = nll_means(chooser)
    assert set(scores.values()) == {scores["constant"]}
    assert chooser.leader() == "constant"


def test_base_arm_is_played_until_a_model_has_earned_the_choice() -> None:
    """Before any value is known the proposal is the base preset's own, coefficient for coefficient."""
    chooser = warm()
    facts = cycle_of(11, K, 0)
    proposal, base = chooser.propose(facts, 75), chooser.base.propose(facts, 75)
    assert proposal is not None
    assert base is not None
    assert (proposal.coefficients, proposal.horizon, proposal.arm) == (base.coefficients, base.horizon, base.arm)
    assert proposal.arm == BASE
    assert (proposal.value, proposal.value_lower) == (None, None)


def play(chooser: LearnedChooser, values: dict[str, float], rounds: int) -> list[str]:
    """Fork every arm of `values` in turn, its value given in units of noise; returns the arms proposed."""
    rng, played = np.random.default_rng(0), list[str]()
    for step, proposal in drive(chooser, noise_losses(200 + K * rounds, 5), K, first=201):
        played.append("none" if proposal is None else proposal.arm)
        arm = list(values)[len(played) % len(values)]
        worth = (values[arm] + 0.01 * rng.normal()) * chooser.trend.noise
        chooser.judge(outcome_of(step, arm, good=True, value=worth))
    return played


def test_learned_choice_finds_the_planted_better_arm_after_some_forks_and_not_before_three() -> None:
    """An arm worth three times the base arm is played in the end; the first proposals are the base arm."""
    played = play(warm(), {BASE: 0.1, "0.8x0.5": 0.02, "0.95x1": 0.3}, 12)
    assert played[:3] == [BASE] * 3
    assert played[-3:] == ["0.95x1"] * 3


def test_the_value_comes_with_the_choice_in_units_of_the_loss() -> None:
    """Once values exist the proposal carries the expected loss saved, near the planted one, and a lower bound."""
    chooser = warm()
    play(chooser, {BASE: 0.1, "0.95x1": 0.3}, 12)
    proposal = chooser.propose(cycle_of(23, K, 0), 75)
    assert proposal is not None
    assert proposal.value == pytest.approx(0.3 * chooser.trend.noise, rel=0.3)
    assert proposal.value_lower is not None
    assert proposal.value is not None
    assert 0.0 < proposal.value_lower < proposal.value


@pytest.mark.parametrize("values", [{BASE: -0.2}, {BASE: -0.2, "0.95x1": -0.4, "0.8x0.5": -0.1}])
def test_none_is_played_when_every_value_is_negative(values: dict[str, float]) -> None:
    """When jumps lose, whichever arm was tried, the chooser ends with no jump."""
    chooser = warm()
    for index in range(8):
        proposal = chooser.propose(cycle_of(11 + index, K, 0), 75)
        if proposal is None:
            break
        arm = list(values)[index % len(values)]
        step = (11 + index) * K
        chooser.judge(outcome_of(step, arm, good=False, value=values[arm] * chooser.trend.noise))
    assert chooser.propose(cycle_of(30, K, 0), 75) is None
    assert chooser.summary()["arms_played"]["none"] >= 1


def test_values_are_judged_by_what_was_said_before_them() -> None:
    """The first value of a run is scored against the prior, however far off that was."""
    chooser = warm()
    facts = cycle_of(11, K, 0)
    means, sds = chooser.models["ridge"].values()
    assert chooser.propose(facts, 75) is not None
    chooser.judge(outcome_of(facts.step, BASE, good=True, value=0.5 * chooser.trend.noise))
    at = chooser.arms.base_index
    expected = -np.log(NormalDist(means[at], sds[at]).pdf(0.5))
    assert chooser.worth.scores.mean("ridge") == pytest.approx(expected, rel=1e-9)


def test_confidence_starts_high_and_falls_below_the_threshold_after_bad_verdicts() -> None:
    """The base counts as earned until the run's own evidence says otherwise."""
    chooser, seen = warm(), list[float]()
    for index in range(8):
        proposal = chooser.propose(cycle_of(11 + index, K, 0), 75)
        assert proposal is not None
        assert proposal.confidence is not None
        seen.append(proposal.confidence)
        chooser.judge(outcome_of((11 + index) * K, BASE, good=False))
    assert seen[0] > 0.8
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.3


def test_confidence_is_calibrated_on_a_planted_problem() -> None:
    """With verdicts that depend on a feature and a base rate of a half, confidence beats both base rates."""
    chooser = make()
    for step, proposal in drive(chooser, noise_losses(3000, 6), K):
        features = chooser.features()
        if proposal is not None and features is not None:
            chooser.judge(outcome_of(step, BASE, good=bool(features[:8].sum() > 0.0)))
    confidence = chooser.summary()["confidence"]
    assert confidence["skill"] == "skill"
    assert confidence["brier"] < 0.9 * confidence["sample_rate_brier"]


def test_confidence_is_computed_once_a_step() -> None:
    """Between steps the cached number is returned; a new step asks the model again."""
    chooser, asked = warm(), list[int]()
    model = chooser.models["ridge"]
    success = model.success
    model.success = lambda: (asked.append(1), success())[1]  # pyright: ignore[reportAttributeAccessIssue]
    chooser.observe(step_of(201, 2.0, K, None, 0))
    assert chooser.confidence() == chooser.confidence()
    assert len(asked) == 1
    chooser.observe(step_of(202, 2.0, K, None, 0))
    chooser.confidence()
    assert len(asked) == 2


def test_an_outcome_of_another_step_teaches_nothing() -> None:
    """Only the proposal that was made is judged; a stranger's outcome leaves the confidence as it was."""
    chooser = warm()
    before = chooser.confidence()
    assert chooser.propose(cycle_of(11, K, 0), 75) is not None
    chooser.judge(outcome_of(999, BASE, good=False))
    assert chooser.confidence() == before
    assert chooser.reliability.count == 0


def test_a_value_without_a_sign_is_no_verdict() -> None:
    """A fork that measured -1 +- 1 thousandth says nothing bad about the jump; -3 +- 1 does."""
    seen: list[float] = []
    for value in (-0.001, -0.003):
        chooser = warm()
        assert chooser.propose(cycle_of(11, K, 0), 75) is not None
        before = chooser.confidence()
        chooser.judge(outcome_of(11 * K, BASE, good=False, value=value, value_se=0.001))
        assert chooser.worth.count == 1
        seen.append(before - chooser.confidence())
    assert seen[0] == 0.0
    assert seen[1] > 0.05


def test_a_rollback_voids_pending_forecasts() -> None:
    """After a step back in time no outcome is taken from the path that was undone."""
    chooser = warm()
    count, pending = chooser.prequential.scores.count("ridge"), len(chooser.prequential.pending)
    assert pending > 0
    for index in range(190, 190 + chooser.horizon - 5):
        chooser.observe(step_of(index, 2.0, K, None, 0))
    assert chooser.prequential.scores.count("ridge") == count
    assert chooser.summary()["forecasts_void"] == pending


def test_beyond_its_horizon_the_forecast_is_the_trend() -> None:
    """What was never scored is not claimed, even by a leading model."""
    config = HybridConfig(predictor="ridge", total_steps=2000, full_steps=60, max_predict_steps=10)
    chooser = ridge.build(config, 1)
    for _ in drive(chooser, wave_losses(1500, 3, period=20.0), 60):
        pass
    assert chooser.leader() == "ridge"
    far, (change, scale) = chooser.forecast(60), chooser.trend.at(60)
    assert far is not None
    assert (far.mean, far.scale) == (chooser.trend.level + change, scale)


def test_without_a_step_there_is_neither_forecast_nor_features() -> None:
    """Before the first step there is no opinion."""
    chooser = make()
    assert chooser.forecast(5) is None
    assert chooser.features() is None
    assert chooser.propose(cycle_of(5, K, 0), 75) is None


@pytest.mark.parametrize("name", list(BUILD))
def test_a_saved_chooser_continues_bit_for_bit(name: str) -> None:
    """Saved mid-cycle with forecasts pending and a proposal open, a new object repeats every number."""
    losses = wave_losses(400, 7)
    whole = make(name)
    for step, _ in drive(whole, losses[:260], K):
        if step < 240:
            whole.judge(outcome_of(step, BASE, good=step % 60 == 0, value=0.01))
    state = as_stored(whole.state_dict())
    assert state["parts"]["prequential"]["pending"]
    assert state["flight"] is not None
    resumed = make(name)
    resumed.load_state_dict(state)
    for each in (whole, resumed):
        for index in range(261, 271):
            each.observe(step_of(index, losses[index - 1], K, index - 260, 0))
        each.judge(outcome_of(260, BASE, good=True, value=0.005))
    pairs = zip(drive(whole, losses, K, first=271), drive(resumed, losses, K, first=271), strict=True)
    assert all(one == other for one, other in pairs)
    assert_equal(as_stored(whole.state_dict()), as_stored(resumed.state_dict()))
    assert whole.summary() == resumed.summary()
