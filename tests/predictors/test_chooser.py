"""Which policy is played: forks only where they pay and fit, measurements by hand, choices that say why."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.planted_beliefs import (
    BROKEN,
    FALL,
    FEATURES,
    HOPELESS,
    OPEN,
    READING,
    SURE,
    WINDOW,
    Planted,
    PlantedRun,
    measured,
)
from references.same import assert_same

from hpt.history import FloatArray
from hpt.jump.policy import NONE
from hpt.learned.belief import Belief, normal_cdf
from hpt.learned.confidence import Calibrator
from hpt.predictors.chooser import NAMES
from hpt.predictors.protocol import ForkRequest


def test_a_certain_belief_is_played_without_a_fork() -> None:
    """Where nothing can change the choice nothing is measured: `full` is worth most at every cycle."""
    run = PlantedRun(SURE)
    assert set(run.play({})) == {"full"}
    assert run.chooser.measurements == []


def test_where_nothing_is_worth_a_jump_none_is_played() -> None:
    """Every mean is below that of "none", for certain."""
    assert set(PlantedRun(HOPELESS).play({})) == {NONE}


def test_an_open_question_in_a_long_run_is_forked_over_at_once() -> None:
    """One policy, with the jumps and the settling time that forks are read by."""
    run = PlantedRun(OPEN)
    request = run.choose(run.until(0.1))
    assert isinstance(request, ForkRequest)
    assert (len(request.policies), request.num_jumps, request.settle_steps) == (1, 3, 60)
    assert request.policies[0] in NAMES


@pytest.mark.parametrize("place", range(len(NAMES)))
def test_a_fork_is_over_the_policy_of_which_least_is_known(place: int) -> None:
    """Where the others are known, measuring them changes nothing."""
    sds = [0.5 if other == place else 1e-3 for other in range(len(NAMES))]
    run = PlantedRun(Planted((0.05,) * len(NAMES), sds, correlation=0.0))
    request = run.choose(run.until(0.1))
    assert isinstance(request, ForkRequest)
    assert request.policies == (NAMES[place],)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"total_steps": None}, "without a planned length there is neither a cost nor a worth of steps"),
        ({"budget": 0.0}, "no budget"),
        ({"total_steps": 2_000, "cycle_steps": 20, "budget": 0.05}, "a fork of 120 steps is above 5 % of 2000"),
        ({"fall": 0.0}, "a loss that stands still has no unit"),
        ({"fall": -0.1}, "nor has one that rises"),
    ],
)
def test_no_fork_is_asked_for(changed: dict[str, Any], why: str) -> None:
    """The best mean is played instead, however little is known of it."""
    run = PlantedRun(OPEN, **changed)
    stats = [run.observe() for _ in range(40)]
    assert run.choose(stats[-1]) == NAMES[0], why


def test_no_fork_is_asked_for_before_the_loss_has_a_slope() -> None:
    """A slope takes four cycles."""
    run = PlantedRun(OPEN)
    choices = [run.choose(run.observe()) for _ in range(4)]
    assert choices[:3] == [NAMES[0]] * 3
    assert isinstance(choices[3], ForkRequest)


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(200, 30_000),
    cycle=st.integers(10, 200),
    budget=st.floats(0.0, 0.5),
    sd=st.floats(0.01, 3.0),
    mean=st.floats(-0.5, 0.5),
    value=st.floats(-0.05, 0.05),
)
def test_forks_stay_inside_budget_and_window(
    total: int, cycle: int, budget: float, sd: float, mean: float, value: float
) -> None:
    """Losing branches never cost more than their share of the run, and every branch ends before the window does."""
    run = PlantedRun(Planted((mean,) * len(NAMES), sd), total, cycle_steps=cycle, budget=budget)
    spent = 0
    while run.step + cycle <= WINDOW[1] * total:
        stats = run.observe()
        if run.step < WINDOW[0] * total:
            continue
        choice = run.choose(stats)
        if not isinstance(choice, ForkRequest):
            continue
        length = READING.num_jumps * cycle + READING.settle_steps
        spent += length
        assert run.step + length < WINDOW[1] * total
        run.settle(stats, {choice.policies[0]: measured(value, 1e-3)})
        run.observe(length)
    assert spent <= budget * total


def test_measurements_become_worth_as_by_hand() -> None:
    """Measured z = 0.003 x 80 jumps of the window / 0.4 = 0.6; offset -0.2, scale 1.5: theta = (0.6 + 0.2) / 1.5."""
    run = PlantedRun(OPEN)
    run.settle(run.until(0.2), {"half-kept": measured(0.003, 0.001)})
    found = run.chooser.measurements[0]
    per_loss = 0.8 * 10_000 / 100 / FALL
    assert (found.value, found.value_se) == pytest.approx((0.003, 0.001))
    assert found.worth == pytest.approx((0.003 * per_loss + 0.2) / 1.5)
    assert found.variance == pytest.approx((0.1 + (0.001 * per_loss) ** 2) / 1.5**2)


def by_precision(prior: Belief, seen: list[tuple[int, float, float]]) -> Belief:
    """All measurements at once: precisions add up."""
    precision, weighted = np.linalg.inv(prior.covariance), np.linalg.solve(prior.covariance, prior.mean)
    for place, worth, variance in seen:
        precision[place, place] += 1.0 / variance
        weighted[place] += worth / variance
    covariance: FloatArray = np.linalg.inv(precision).astype(np.float64)
    return Belief(covariance @ weighted, covariance)


@settings(max_examples=30, deadline=None)
@given(
    seen=st.lists(
        st.tuples(st.sampled_from(NAMES), st.floats(-0.01, 0.01), st.floats(1e-4, 1e-2)), min_size=1, max_size=4
    )
)
def test_forks_in_order_equal_all_of_them_at_once(seen: list[tuple[str, float, float]]) -> None:
    """Conditioning one by one is conditioning on the whole; float64, a few inversions of 4 x 4."""
    run = PlantedRun(OPEN)
    for name, value, se in seen:
        run.settle(run.until(0.2), {name: measured(value, se)})
    told = [(NAMES.index(one.policy), one.worth, one.variance) for one in run.chooser.measurements]
    belief, expected = run.chooser.belief(FEATURES), by_precision(OPEN.belief(FEATURES), told)
    np.testing.assert_allclose(belief.mean, expected.mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(belief.covariance, expected.covariance, rtol=1e-8, atol=1e-10)


def test_a_clear_loss_ends_jumps_and_the_decision_names_the_fork() -> None:
    """After one fork over 80 jumps that lose 0.02 each nothing jumps, and nothing more is measured."""
    run = PlantedRun(OPEN)
    played = run.play(dict.fromkeys(NAMES, -0.02))
    assert set(played) == {NONE}
    assert len(run.chooser.measurements) == 1
    decision, fork = run.chooser.decisions[0], run.chooser.measurements[0]
    assert decision.policy == NONE
    assert decision.step == fork.step
    assert decision.why.startswith("no jumps: a planted belief")
    assert f"fork at update {fork.step}: {fork.policy} -0.0200 +- 0.0010 a jump" in decision.why


def test_a_clear_gain_is_played() -> None:
    """The policy that was measured to save 0.02 a jump goes on from its own branch."""
    run = PlantedRun(OPEN)
    played = run.play(dict.fromkeys(NAMES, 0.02))
    assert run.chooser.measurements[0].policy == played[0]
    assert NONE not in played


@pytest.mark.parametrize("model", [OPEN, Planted((0.5,) * len(NAMES), 0.5)])
def test_a_branch_that_broke_down_ends_jumps(model: Planted) -> None:
    """It stands for a work ratio of e^-1 for certain, which tells against the policies that go with it as well."""
    run = PlantedRun(model)
    assert run.settle(run.until(0.2), {"full": BROKEN}) == NONE
    belief = run.chooser.belief(FEATURES)
    assert belief.mean[NAMES.index("full")] == pytest.approx(-1.0, abs=1e-4)
    assert run.chooser.measurements[0].value == -math.inf
    assert run.chooser.summary()["measurements"][0]["value"] is None


def test_a_decision_is_kept_when_it_changes_and_after_each_fork_once() -> None:
    """Cycle after cycle of the same choice is one decision; a fork that changes nothing is told once."""
    run = PlantedRun(SURE)
    for _ in range(5):
        run.choose(run.observe())
    first = run.step - 400
    assert [one.step for one in run.chooser.decisions] == [first]
    stats = run.observe()
    run.settle(stats, {"full": measured(0.01, 0.001)})
    for _ in range(5):
        run.choose(run.observe())
    assert [one.step for one in run.chooser.decisions] == [first, stats.step]
    assert {one.policy for one in run.chooser.decisions} == {"full"}


def test_a_decision_says_what_is_believed() -> None:
    """Means and standard deviations by policy, and the best of them in words."""
    run = PlantedRun(SURE)
    run.choose(run.observe())
    (decision,) = run.chooser.decisions
    assert decision.means == dict(zip(NAMES, SURE.means, strict=True))
    assert decision.sds == pytest.approx(dict.fromkeys(NAMES, 1e-4))
    assert decision.why == "full: a planted belief; full is worth +0.300 +- 0.000 in log work ratio"


def test_confidence_is_the_calibrated_probability_that_the_best_policy_gains() -> None:
    """Phi(mean / sd) of the largest mean, through Platt's map of what earlier forks said beside what was stated."""
    model = Planted((0.0, 0.05, 0.1, 0.3, 0.2, 0.0), 0.4)
    run, calibrator = PlantedRun(model), Calibrator(0.5)
    assert run.chooser.confidence(FEATURES) == calibrator.calibrated(normal_cdf(0.3 / 0.4))
    run.settle(run.until(0.2), {"full": measured(-0.001, 0.01)})
    calibrator.observe(normal_cdf(0.2 / 0.4), outcome=False)
    belief = run.chooser.belief(FEATURES)
    best = int(belief.mean.argmax())
    raw = normal_cdf(belief.mean[best] / math.sqrt(belief.covariance[best, best]))
    assert run.chooser.confidence(FEATURES) == pytest.approx(calibrator.calibrated(raw), rel=1e-12)


def test_confidence_is_judged_by_what_was_stated_before_the_fork() -> None:
    """The reliability table holds the probability of the policy measured, before its value was known."""
    run = PlantedRun(Planted((0.0, 0.05, 0.1, 0.3, 0.2, 0.0), 0.4))
    stated = Calibrator(0.5).calibrated(normal_cdf(0.2 / 0.4))
    run.settle(run.until(0.2), {"full": measured(0.02, 0.001)})
    confidence = run.chooser.summary()["confidence"]
    assert run.chooser.measurements[0].probability == pytest.approx(stated)
    assert (confidence["count"], confidence["brier"]) == (1, pytest.approx((1.0 - stated) ** 2))


def test_a_fork_over_several_policies_teaches_about_each() -> None:
    """Two branches are two measurements, whose order does not matter to the belief."""
    beliefs: list[Belief] = []
    values = {"half": measured(0.01, 0.001), "full-kept": measured(-0.01, 0.001)}
    for order in (("half", "full-kept"), ("full-kept", "half")):
        run = PlantedRun(OPEN)
        assert run.settle(run.until(0.2), {name: values[name] for name in order}) == "half"
        beliefs.append(run.chooser.belief(FEATURES))
    np.testing.assert_allclose(beliefs[0].mean, beliefs[1].mean, rtol=1e-10)


@pytest.mark.parametrize("at", [0.05, 0.3, 0.6])
def test_a_restored_chooser_goes_on_alike(at: float) -> None:
    """Saved before, between or after forks, a new object makes the same choices and holds the same state."""
    values = dict(zip(NAMES, (0.001, 0.003, 0.002, -0.001, 0.004, 0.001), strict=True))
    whole, resumed = (PlantedRun(OPEN, 20_000, budget=0.2) for _ in range(2))
    total = 20_000
    while whole.step < at * total:
        stats = whole.observe()
        if whole.step >= WINDOW[0] * total and isinstance(choice := whole.choose(stats), ForkRequest):
            whole.settle(stats, {name: measured(values[name], 1e-3) for name in choice.policies})
    resumed.chooser.load_state_dict(whole.chooser.state_dict())
    resumed.step = whole.step
    assert whole.play(values) == resumed.play(values)
    assert_same(whole.chooser.state_dict(), resumed.chooser.state_dict())
    assert whole.chooser.summary() == resumed.chooser.summary()
    assert whole.chooser.measurements


def test_what_was_spent_is_remembered() -> None:
    """With a budget for one fork of 360 steps, one that told nothing is the last, also in a restored chooser."""
    run, twin = (PlantedRun(OPEN, budget=0.04) for _ in range(2))
    stats = run.until(0.1)
    request = run.choose(stats)
    assert isinstance(request, ForkRequest)
    run.settle(stats, {request.policies[0]: measured(0.0, 10.0)})
    twin.chooser.load_state_dict(run.chooser.state_dict())
    for each in (run, twin):
        assert not isinstance(each.choose(stats), ForkRequest)


def test_a_run_whose_fork_was_dropped_asks_for_no_other() -> None:
    """Asked again without a measurement, the best mean is played from there on; a restored chooser knows."""
    run, twin = PlantedRun(OPEN, budget=0.5), PlantedRun(OPEN, budget=0.5)
    assert isinstance(run.choose(run.until(0.1)), ForkRequest)
    twin.chooser.load_state_dict(run.chooser.state_dict())
    twin.step = run.step
    for each in (run, twin):
        assert set(each.play({})) == {NAMES[0]}


def test_a_fork_that_was_open_when_it_was_saved_is_read_by_the_same_curve() -> None:
    """A chooser restored before the fork settles measures the same worth."""
    run, twin = PlantedRun(OPEN, fall=0.7), PlantedRun(OPEN)
    stats = run.until(0.1)
    assert isinstance(run.choose(stats), ForkRequest)
    twin.chooser.load_state_dict(run.chooser.state_dict())
    for each in (run, twin):
        each.settle(stats, {"full": measured(0.01, 0.001)})
    assert run.chooser.measurements == twin.chooser.measurements


def test_the_summary_is_what_was_believed_measured_and_decided() -> None:
    """Model, prior, a row a fork, a row a decision."""
    run = PlantedRun(OPEN)
    run.play(dict.fromkeys(NAMES, 0.02))
    summary = run.chooser.summary()
    assert (summary["model"], summary["prior"]) == ("planted", OPEN.describe())
    assert summary["measurements"] == [asdict(one) for one in run.chooser.measurements]
    assert summary["decisions"] == [asdict(one) for one in run.chooser.decisions]


@pytest.mark.parametrize(("mean", "jump_cost", "plays"), [(0.02, 0.0, True), (0.02, 1 / 3, False), (0.03, 1 / 3, True)])
def test_a_policy_must_be_worth_more_than_its_jumps_cost(mean: float, jump_cost: float, plays: bool) -> None:
    """In cycles of 10 steps 0.8 of a run has 0.08 T jumps; at a third of a step each they cost 0.0267 T steps."""
    run = PlantedRun(Planted((mean,) * len(NAMES), 1e-4), cycle_steps=10, budget=0.0, jump_cost=jump_cost)
    assert (run.choose(run.until(0.2)) != NONE) is plays
    assert run.chooser.belief(FEATURES).mean == pytest.approx(mean - 0.08 * jump_cost)
