"""The selector: the chosen policy's share of the preset, forks passed on, forecasts beside it, exact resumption."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from references.blocks import rows
from references.planted_beliefs import HOPELESS, OPEN, READING, SURE, Planted, forked, measured
from references.planted_runs import Shown, as_stored, cycle_of, noise_losses, outcome_of, step_of, wave_losses
from references.same import assert_same

from hpt.config import HybridConfig, LearnerConfig, PredictConfig, ValueConfig
from hpt.history import NEVER, FloatArray
from hpt.jump.policy import NONE, POLICIES
from hpt.learned.belief import Belief
from hpt.learned.prior import Prior
from hpt.optimizers.traits import UNKNOWN, RunTraits
from hpt.predictors.chooser import PolicyChooser
from hpt.predictors.loss_forecasts import MAX_FORECAST_STEPS
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.prior_policy import PriorPolicy
from hpt.predictors.protocol import ForkRequest
from hpt.predictors.selector import PolicySelector, build, nominal_horizon

K = 20
NAMES = ("ridge", "linear", "mlp", "rssm")
DECLINE = np.linspace(3.0, 2.0, 400)


def config(name: str = "ridge", **changed: Any) -> HybridConfig:
    return HybridConfig(predictor=name, total_steps=4000, full_steps=K, **changed)


def make(model: Planted | None = None, name: str = "ridge", **changed: Any) -> PolicySelector:
    """With this belief before any fork; None: with the stored prior."""
    found = config(name, **changed)
    selector = build(name, found, UNKNOWN)
    if model is not None:
        selector.chooser = PolicyChooser(found, model, selector.window)
        selector.chooser._reading = READING
    return selector


def warm(selector: PolicySelector, num_steps: int = 200) -> Shown:
    """After cycles in which nobody was asked."""
    run = Shown(selector, K)
    for index in range(1, num_steps + 1):
        run.observe(step_of(index, DECLINE[index - 1], K, NEVER, 0))
        if index % K == 0:
            selector.end_cycle(cycle_of(index // K, K, 0), run.trend)
    return run


def test_what_is_proposed_is_the_chosen_policys_share_of_the_preset() -> None:
    """The best mean is that of `full`: the preset's own delta and horizon, number for number."""
    run, stats = warm(make(SURE)), cycle_of(11, K, 0)
    proposal, base = run.propose(stats), Nesterov(config()).propose(stats, run.trend, 75)
    assert base is not None
    assert (proposal.delta, proposal.horizon) == (base.delta, base.horizon)
    assert (proposal.predictor, proposal.arm) == ("ridge", "full")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_in_the_settings_is_played_and_nothing_is_chosen(policy: str) -> None:
    """No chooser, no fork, no confidence; the policy's share of the preset's gain and pull-back, norms as it says."""
    selector = make(predict=PredictConfig(policy=policy))
    run = warm(selector)
    for cycle in range(11, 40):
        stats = cycle_of(cycle, K, 0)
        proposal, full = run.propose(stats), Nesterov(config()).delta(stats)
        share = {"quarter": 0.25, "half": 0.5, "full": 1.0}[policy.removesuffix("-kept")]
        assert proposal.delta == replace(
            full, pull_back=share * full.pull_back, gain=share * full.gain, keeps_norm="kept" in policy
        )
        assert (proposal.arm, proposal.confidence) == (policy, None)
    assert selector.chooser is None
    assert selector.decision() is None
    assert selector.settle(forked(cycle_of(40, K, 0), {"full": measured(0.1, 0.001)})) == NONE
    assert selector.summary()["values"] is None
    assert selector.summary()["policies_played"] == {policy: 29}


def test_none_is_no_proposal() -> None:
    """Where no policy is worth anything, nothing is proposed, and that is counted."""
    selector = make(HOPELESS)
    run = warm(selector)
    assert run.propose(cycle_of(11, K, 0)) is None
    assert selector.summary()["policies_played"] == {NONE: 1}
    decision = selector.decision()
    assert decision is not None
    assert (decision.policy, decision.step) == (NONE, 11 * K)


def test_a_fork_is_passed_on_and_what_it_measured_decides() -> None:
    """An open question comes out as the chooser's request; after the measurement its policy is played, or none."""
    for value, plays in ((0.02, True), (-0.02, False)):
        selector = make(OPEN, value=ValueConfig(fork_budget_frac=0.5))
        run, stats = warm(selector), cycle_of(11, K, 0)
        request = run.propose(stats)
        assert isinstance(request, ForkRequest)
        (policy,) = request.policies
        assert selector.settle(forked(stats, {policy: measured(value, 1e-4)})) == (policy if plays else NONE)
        proposal = run.propose(cycle_of(12, K, 0))
        assert (None if proposal is None else proposal.arm) == (policy if plays else None)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_branch_jumps_as_the_policy_does(policy: str) -> None:
    """What a fork plays is what would be proposed under that policy."""
    stats = cycle_of(11, K, 0)
    fixed = warm(make(predict=PredictConfig(policy=policy))).propose(stats)
    assert make(SURE).policy_delta(policy, stats) == fixed.delta


def test_nothing_is_asked_before_the_trend_has_cycles_and_the_run_has_steps() -> None:
    """The preset wants three cycles, the features one step."""
    assert Shown(make(SURE), K).propose(cycle_of(5, K, 0)) is None
    run = warm(make(SURE))
    assert run.propose(cycle_of(2, K, 0)) is None
    assert run.predictor.summary()["policies_played"] == {}


class Counting(Planted):
    """Counts how often it is asked."""

    asked = 0

    def belief(self, raw: FloatArray) -> Belief:
        self.asked += 1
        return super().belief(raw)


def test_confidence_is_computed_once_a_step_and_goes_with_the_proposal() -> None:
    """Between steps the cached number is returned; a new step or a fork asks again."""
    model = Counting(SURE.means, 0.3)
    selector = make(model, value=ValueConfig(fork_budget_frac=0.0))
    run, stats = warm(selector), cycle_of(11, K, 0)
    confidence = selector.confidence()
    assert confidence == selector.confidence()
    assert model.asked == 1
    run.observe(step_of(201, 2.0, K, NEVER, 0))
    selector.confidence()
    assert model.asked == 2
    assert run.propose(stats).confidence == confidence  # the planted belief does not move
    selector.settle(forked(stats, {"full": measured(-0.01, 1e-3)}))
    after = selector.confidence()
    assert confidence is not None
    assert after is not None
    assert after < confidence


def test_no_steps_change_nothing() -> None:
    """An empty block leaves forecasts, beliefs and the state as they were."""
    selector = make(OPEN)
    run = warm(selector)
    before = as_stored(selector.state_dict())
    steps = step_of(201, 2.0, K, NEVER, 0)
    run.observe(rows(steps, 0, 0))
    assert_same(as_stored(selector.state_dict()), before)


def test_the_prior_is_that_of_the_runs_kind() -> None:
    """The traits of the run reach the model, whether or not anything else is learned."""
    for enabled in (True, False):
        found = config(learner=LearnerConfig(enabled=enabled))
        summary = build("ridge", found, RunTraits("muon", "text")).summary()
        assert summary["values"]["model"] == "prior"
        assert summary["values"]["prior"]["kind"] == "muon-text"


def test_forecasts_are_those_of_the_loss_forecasters() -> None:
    """The forecast, the features and the scores are theirs, and jumps are told to them."""
    selector = make(SURE)
    run = Shown(selector, K)
    for step, proposal in run.drive(wave_losses(400, 3), K):
        if proposal is not None:
            selector.judge(outcome_of(step, proposal.arm, good=True))
    assert selector.forecast(run.trend, 7) == selector.forecasts.forecast(run.trend, 7)
    assert selector.far == selector.forecasts.far
    np.testing.assert_array_equal(selector.features(), selector.forecasts.features)
    summary = selector.summary()
    assert {"scores", "leader", "horizon"} <= set(summary)
    assert {"ridge", "constant"} == set(summary["scores"])
    assert selector.forecasts._planner._size[0] == 0.5  # the outcome's ratio


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"full_steps": 60}, 88),  # (1.8 + 1.15) / 2 = 1.475 cycles
        ({"full_steps": 60, "max_predict_steps": 50}, 50),
        ({"full_steps": 1000}, MAX_FORECAST_STEPS),
        ({"full_steps": 60, "predict": PredictConfig(preset="short")}, 90),
    ],
)
def test_the_horizon_is_the_presets_in_the_middle_of_its_window(changed: dict[str, Any], expected: int) -> None:
    """(gain - pull-back) K, as far as jumps may go and a window of replay holds."""
    found = HybridConfig(total_steps=2000, **changed)
    assert nominal_horizon(Nesterov(found), found) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_selector_continues_bit_for_bit(name: str) -> None:
    """Saved mid-cycle after a fork was measured, a new object repeats every proposal, forecast and decision."""
    losses = np.linspace(3.0, 2.0, 400) + noise_losses(400, 7) - 2.0
    budget = ValueConfig(fork_budget_frac=0.3)
    whole, resumed = (Shown(make(OPEN, name, value=budget), K) for _ in range(2))
    for step, choice in whole.drive(losses[:260], K):
        if isinstance(choice, ForkRequest):
            found = {policy: measured(0.001, 0.001) for policy in choice.policies}
            whole.predictor.settle(forked(cycle_of(step // K, K, 0), found))
    state = as_stored(whole.predictor.state_dict())
    assert state["chooser"]["measurements"]
    assert state["forecasts"]["scores"]["pending"]
    resumed.predictor.load_state_dict(state)
    resumed.trend.load_state_dict(whole.trend.state_dict())
    for each in (whole, resumed):
        for index in range(261, 271):
            each.observe(step_of(index, losses[index - 1], K, index - 260, 0))
        each.predictor.judge(outcome_of(260, "full", good=True))
    pairs = zip(whole.drive(losses, K, first=271), resumed.drive(losses, K, first=271), strict=True)
    assert all(one == other for one, other in pairs)
    assert whole.predictor.confidence() == resumed.predictor.confidence()
    assert_same(as_stored(whole.predictor.state_dict()), as_stored(resumed.predictor.state_dict()))
    assert whole.predictor.summary() == resumed.predictor.summary()


def test_a_saved_selector_with_a_fixed_policy_continues() -> None:
    """Without a chooser there is none in the state."""
    selector, twin = (make(predict=PredictConfig(policy="half")) for _ in range(2))
    warm(selector)
    state = as_stored(selector.state_dict())
    assert state["chooser"] is None
    twin.load_state_dict(state)
    assert twin.forecasts.raw_features.tolist() == selector.forecasts.raw_features.tolist()


def prior_ending_at(end: float | None) -> Prior:
    """Of any run: `half` pays."""
    mean = np.array([0.3 if name == "half" else 0.0 for name in POLICIES])
    return Prior("adam-normalised", Belief(mean, 1e-4 * np.eye(len(mean))), 10, end)


@pytest.mark.parametrize(
    ("end", "predict", "expected"),
    [
        (None, PredictConfig(), 0.9),
        (0.5, PredictConfig(), 0.5),
        (0.95, PredictConfig(), 0.9),
        (0.5, PredictConfig(window_end_frac=0.7), 0.7),
        (0.5, PredictConfig(policy="half"), 0.9),
    ],
    ids=(
        "the preset's",
        "the kind's, which is earlier",
        "never later",
        "the settings'",
        "a fixed policy is played out",
    ),
)
@pytest.mark.parametrize("name", ["ridge", "prior"])
def test_jumps_end_where_they_ended_in_runs_of_the_kind(
    monkeypatch: pytest.MonkeyPatch, name: str, end: float | None, predict: PredictConfig, expected: float
) -> None:
    """For the default and for loops that show no loss; settings come first."""
    for module in ("hpt.predictors.nesterov", "hpt.learned.value_models"):
        monkeypatch.setattr(f"{module}.prior_of", lambda _traits: prior_ending_at(end))
    found = config("ridge", predict=predict)
    predictor = build(name, found, UNKNOWN) if name == "ridge" else PriorPolicy(found, UNKNOWN)
    assert predictor.window == (0.1, expected)


def test_the_preset_falls_to_its_end_where_the_jumps_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 50 % of a run whose jumps end there: half of the preset's last gain and pull-back."""
    for module in ("hpt.predictors.nesterov", "hpt.learned.value_models"):
        monkeypatch.setattr(f"{module}.prior_of", lambda _traits: prior_ending_at(0.5))
    selector = build("ridge", config(), UNKNOWN)
    delta = selector.policy_delta("half", replace(cycle_of(100, K, 0), progress=0.5))
    last_pull_back, last_gain = selector.base.preset.end
    assert (delta.pull_back, delta.gain) == (pytest.approx(0.5 * last_pull_back), pytest.approx(0.5 * last_gain))
