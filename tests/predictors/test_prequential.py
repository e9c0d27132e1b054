"""Questions and outcomes: exactly H ticks apart, each scored once, none answered twice."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.forecast import Correction, LossTrend, Moment
from hpt.predictors.prequential import Prequential

FEATURES = np.arange(64, dtype=np.float32)


def trend() -> LossTrend:
    made = LossTrend(8)
    for index in range(50):
        made.observe(2.0 + 0.1 * (-1) ** index)
    return made


@settings(max_examples=30, deadline=None)
@given(horizon=st.integers(1, 8), asked=st.sets(st.integers(0, 20)))
def test_every_question_is_settled_once_and_exactly_at_its_tick(horizon: int, asked: set[int]) -> None:
    """Settled moments are those asked H ticks before."""
    prequential, made = Prequential(horizon, 0.9), trend()
    for tick in range(40):
        settled = prequential.settle(tick, 2.0)
        assert [moment.tick for moment, _ in settled] == [tick - horizon] * (tick - horizon in asked)
        if tick in asked:
            prequential.ask(Moment(tick, FEATURES), made, {})
    assert prequential.scores.count("constant") == len(asked)


def test_score_is_the_log_density_of_the_loss_in_its_own_unit() -> None:
    """The same number the normal distribution gives, for a shifted and widened forecast."""
    prequential, made = Prequential(4, 0.9), trend()
    change, scale = made.at(4)
    prequential.ask(Moment(0, FEATURES), made, {"model": Correction(0.5, 0.2, 0.0)})
    ((_, error),) = prequential.settle(4, 2.3)
    mean = made.level + change
    assert error == pytest.approx((2.3 - mean) / scale)
    widened = NormalDist(mean + 0.5 * scale, scale * np.exp(0.2))
    assert prequential.scores.mean("model") == pytest.approx(-np.log(widened.pdf(2.3)))
    assert prequential.scores.mean("constant") == pytest.approx(-np.log(NormalDist(mean, scale).pdf(2.3)))


def test_pending_questions_survive_saving() -> None:
    """A question asked before saving is scored after loading as if nothing had happened."""
    prequential, made = Prequential(4, 0.9), trend()
    prequential.ask(Moment(0, FEATURES), made, {"model": Correction(0.5, 0.2, 0.1)})
    other = Prequential(4, 0.9)
    other.load_state_dict(prequential.state_dict())
    ((mine, error),), ((theirs, same),) = prequential.settle(4, 2.3), other.settle(4, 2.3)
    assert (mine.tick, error) == (theirs.tick, same)
    np.testing.assert_array_equal(mine.features, theirs.features)
    assert numbers(prequential) == numbers(other)


def numbers(prequential: Prequential) -> Mapping[str, Any]:
    return prequential.summary(("model", "constant"))
