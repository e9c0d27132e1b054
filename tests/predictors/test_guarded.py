"""The guard hands steps on late, in order, and never lets a predictor take the run down."""

from typing import Any

import pytest

from hpt.learned.facts import StepFacts
from hpt.predictors.guarded import GuardedPredictor
from hpt.predictors.protocol import LossForecast, Silent
from hpt.records import Phase


def step(number: int) -> StepFacts:
    return StepFacts(number, 2.0, 1.0, (1.0,), 1.0, None, Phase.FULL, 0.0, None)


class Diary(Silent):
    """Notes what it is told and asked, in order; raises at a given step."""

    name = "diary"

    def __init__(self, fails_at: int = -1) -> None:
        self.entries: list[Any] = []
        self._fails_at = fails_at

    def observe(self, facts: StepFacts) -> None:
        if facts.step == self._fails_at:
            raise ValueError("no more")
        self.entries.append(facts.step)

    def forecast(self, num_steps: int) -> LossForecast | None:
        self.entries.append("forecast")
        return LossForecast(1.0, 1.0)


@pytest.mark.parametrize("ask", ["features", "summary", "state_dict"])
def test_all_steps_are_handed_on_before_anything_else_is_asked(ask: str) -> None:
    """Whatever is asked, the predictor has seen every step made before, each once and in order."""
    diary = Diary()
    guard = GuardedPredictor(diary, pytest.fail)
    for number in range(5):
        guard.observe(step(number))
    getattr(guard, ask)()
    assert diary.entries == [0, 1, 2, 3, 4]


def test_questions_keep_their_place_among_the_steps() -> None:
    """A forecast made between two steps is made from the first and without the second."""
    diary = Diary()
    guard = GuardedPredictor(diary, pytest.fail)
    guard.observe(step(0))
    guard.forecast(1)
    guard.observe(step(1))
    guard.forecast(1)
    assert diary.entries == [0, "forecast", 1, "forecast"]


def test_steps_do_not_pile_up_when_nothing_is_asked() -> None:
    """However long a cycle is, only a bounded number of steps wait."""
    diary = Diary()
    guard = GuardedPredictor(diary, pytest.fail)
    for number in range(1000):
        guard.observe(step(number))
    assert len(diary.entries) > 900


def test_a_step_that_raises_when_handed_on_retires_the_predictor() -> None:
    """The question that brought the failure to light gets no answer, and neither does any later one."""
    said: list[str] = []
    guard = GuardedPredictor(Diary(fails_at=1), said.append)
    for number in range(3):
        guard.observe(step(number))
    assert guard.forecast(1) is None
    assert guard.forecast(1) is None
    assert said == ["predictor diary raised ValueError: no more"]
    assert guard.summary() == {"failed": True}
