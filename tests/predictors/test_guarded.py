"""The guard passes calls on in order and never lets a predictor take the run down."""

from typing import Any

import pytest
from references.blocks import joined, one_step
from references.planted_beliefs import forked, measured
from references.planted_runs import cycle_of

from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend, TrendPath
from hpt.predictors.guarded import GuardedPredictor
from hpt.predictors.protocol import BasePredictor, ForkOutcome, LossForecast
from hpt.records import DecisionRecord

TREND = LossTrend(8)
STATS = cycle_of(5, 20, 0)
OUTCOME = forked(STATS, {"half": measured(0.1, 0.01)})
DECISION = DecisionRecord(100, 0.5, "half", {}, {}, "it pays")


def shown(guard: GuardedPredictor, *numbers: int) -> None:
    """Show a block of steps of these numbers."""
    steps = joined(one_step(step=number) for number in numbers)
    guard.observe(steps, TREND.copy().observe(steps.loss))


class Diary(BasePredictor):
    """Notes what it is told and asked, in order; raises at a given step."""

    name, scale, window = "diary", 0.7, (0.2, 0.3)
    far: int | None = 5

    def __init__(self, fails_at: int = -1) -> None:
        self.entries: list[Any] = []
        self._fails_at = fails_at

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        if self._fails_at in steps.step:
            raise ValueError("no more")
        self.entries.append(steps.step.tolist())

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast | None:
        self.entries.append(("forecast", num_steps))
        return LossForecast(1.0, 1.0)

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        if stats is not STATS:
            raise KeyError(policy)
        return WeightDelta(0.2, 1.0, self.scale)

    def settle(self, outcome: ForkOutcome) -> str:
        if outcome is not OUTCOME:
            raise ZeroDivisionError
        return "half"

    def decision(self) -> DecisionRecord | None:
        return DECISION


def test_calls_keep_their_order_and_arguments() -> None:
    """What is asked between two blocks is asked between them; the attributes are the predictor's own."""
    diary = Diary()
    guard = GuardedPredictor(diary, pytest.fail)
    shown(guard, 0, 1)
    assert guard.forecast(TREND, 3) == LossForecast(1.0, 1.0)
    shown(guard, 2)
    assert diary.entries == [[0, 1], ("forecast", 3), [2]]
    assert (guard.name, guard.scale, guard.window, guard.far) == ("diary", 0.7, (0.2, 0.3), 5)


def test_a_predictor_that_raises_is_retired() -> None:
    """It is told of once, on one line; no later question gets an answer, and a restored guard knows."""
    said: list[str] = []
    guard = GuardedPredictor(Diary(fails_at=1), said.append)
    shown(guard, 0, 1)
    shown(guard, 2)
    assert guard.forecast(TREND, 1) is None
    assert said == ["predictor diary raised ValueError: no more"]
    assert guard.summary() == {"failed": True}
    restored = GuardedPredictor(Diary(), pytest.fail)
    restored.load_state_dict(guard.state_dict())
    assert restored.failed
    assert restored.forecast(TREND, 1) is None


def test_what_forks_ask_is_passed_on() -> None:
    """Delta of a policy, the branch that goes on, and the decision are the predictor's own."""
    guard = GuardedPredictor(Diary(), pytest.fail)
    assert guard.policy_delta("half", STATS) == WeightDelta(0.2, 1.0, 0.7)
    assert guard.settle(OUTCOME) == "half"
    assert guard.decision() is DECISION


def test_a_branch_of_a_predictor_that_raises_stands_still() -> None:
    """A delta of nothing, on the trend that the trajectory keeps; from then on nothing is decided."""
    said: list[str] = []
    guard = GuardedPredictor(Diary(), said.append)
    assert guard.policy_delta("half", cycle_of(6, 20, 0)) == WeightDelta(0.0, 0.0, 0.7)
    assert said == ["predictor diary raised KeyError: 'half'"]
    assert guard.settle(OUTCOME) == NONE
    assert guard.decision() is None


def test_when_settling_raises_the_branch_without_jumps_goes_on() -> None:
    """The fork is over, and so is the predictor."""
    said: list[str] = []
    guard = GuardedPredictor(Diary(), said.append)
    assert guard.settle(forked(STATS, {"half": measured(0.1, 0.01)})) == NONE
    assert len(said) == 1
    assert guard.failed
    assert guard.decision() is None
