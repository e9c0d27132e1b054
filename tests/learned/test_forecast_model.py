"""The units in which models answer, and scores: each question settled once, nobody leading who has not earned it."""

import math
import statistics
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.forecast_model import Moment, PrequentialScores, RelativeForecast, Scoreboard, gaussian_nll

FEATURES = np.arange(64, dtype=np.float32)
MEAN, SCALE = 1.95, 0.12


@given(error=st.floats(-5, 5), log_scale=st.floats(-2, 2))
def test_nll_is_the_gaussian_log_density(error: float, log_scale: float) -> None:
    """The score equals minus the log of the standard library's normal density."""
    density = statistics.NormalDist(0.0, float(np.exp(log_scale))).pdf(error)
    if density > 0:
        assert gaussian_nll(error, log_scale) == pytest.approx(-np.log(density), rel=1e-9)


def test_a_forecast_of_zeros_is_the_trend_itself() -> None:
    """Shift 0 and log scale 0 leave the trend's forecast; shift 1 and log 2 move it by a scale and double that."""
    assert RelativeForecast(0.0, 0.0, 0.0).applied(2.0, -0.1, 0.5) == (1.9, 0.5)
    mean, scale = RelativeForecast(1.0, float(np.log(2)), 0.3).applied(2.0, -0.1, 0.5)
    assert mean == pytest.approx(2.4)
    assert scale == pytest.approx(1.0)


def test_rolling_score_is_the_decayed_mean() -> None:
    """With memory 0.9 the scores 1, 2, 4 weigh 0.81, 0.9, 1; the plain mean weighs them alike."""
    board = Scoreboard(0.9)
    for nll in (1.0, 2.0, 4.0):
        board.add("model", nll)
    assert board.rolling("model") == pytest.approx((0.81 * 1 + 0.9 * 2 + 4) / 2.71, rel=1e-12)
    assert board.mean("model") == pytest.approx(7 / 3, rel=1e-12)
    assert board.count("model") == 3


def test_nobody_is_known_before_the_first_score() -> None:
    """An unknown name has no score, and the baseline leads while it has none itself."""
    board = Scoreboard(0.9)
    board.add("model", -5.0)
    assert board.rolling("base") is None
    assert board.mean("base") is None
    assert board.count("base") == 0
    assert board.leader(["model"], "base", 0.0) == "base"


@pytest.mark.parametrize(
    ("scores", "leader"),
    [
        ({"a": 0.99, "b": 0.95}, "base"),  # neither is ahead by more than 0.05
        ({"a": 0.9, "b": 0.8}, "b"),
        ({"a": 0.8, "b": 0.9}, "a"),
        ({"a": 0.8, "b": 0.8}, "a"),
        ({"b": 0.9}, "b"),  # "a" has not been scored
    ],
)
def test_leader_is_the_best_beyond_the_margin(scores: dict[str, float], leader: str) -> None:
    """The lowest score leads, but only if it is below the baseline's 1.0 by more than 0.05."""
    board = Scoreboard(0.5)
    board.add("base", 1.0)
    for name, nll in scores.items():
        board.add(name, nll)
    assert board.leader(["a", "b"], "base", 0.05) == leader


@pytest.mark.parametrize("absurd", [math.inf, math.nan, 1e6])
def test_an_absurd_forecast_counts_as_a_hundred_nats(absurd: float) -> None:
    """Overflow or NaN in one forecast costs 100 nats and leaves the score usable."""
    board = Scoreboard(0.5)
    board.add("model", absurd)
    board.add("model", 0.0)
    assert board.mean("model") == 50.0


def test_a_scoreboard_continues_bit_for_bit() -> None:
    """Saved and loaded half-way, the scores are the same bits."""
    scores = np.random.default_rng(0).standard_normal(20).tolist()
    whole, first, second = Scoreboard(0.9), Scoreboard(0.9), Scoreboard(0.9)
    for nll in scores[:9]:
        whole.add("a", nll)
        first.add("a", nll)
    second.load_state_dict(first.state_dict())
    for nll in scores[9:]:
        whole.add("a", nll)
        second.add("a", nll)
    assert whole.state_dict() == second.state_dict()


@settings(max_examples=30, deadline=None)
@given(horizon=st.integers(1, 8), asked=st.sets(st.integers(0, 20)))
def test_every_question_is_settled_once_and_exactly_at_its_tick(horizon: int, asked: set[int]) -> None:
    """Settled moments are those asked H ticks before."""
    prequential = PrequentialScores(horizon, 0.9)
    for tick in range(40):
        assert (prequential.next_due <= tick) == (tick - horizon in asked)
        settled = prequential.settle(tick, 2.0)
        assert [moment.tick for moment, _ in settled] == [tick - horizon] * (tick - horizon in asked)
        if tick in asked:
            prequential.ask(Moment(tick, FEATURES), MEAN, SCALE, {})
    assert prequential.scores.count("constant") == len(asked)


def test_score_is_the_log_density_of_the_loss_in_its_own_unit() -> None:
    """The same number the normal distribution gives, for a shifted and widened forecast."""
    prequential = PrequentialScores(4, 0.9)
    prequential.ask(Moment(0, FEATURES), MEAN, SCALE, {"model": RelativeForecast(0.5, 0.2, 0.0)})
    ((_, error),) = prequential.settle(4, 2.3)
    assert error == pytest.approx((2.3 - MEAN) / SCALE)
    widened = NormalDist(MEAN + 0.5 * SCALE, SCALE * np.exp(0.2))
    assert prequential.scores.mean("model") == pytest.approx(-np.log(widened.pdf(2.3)))
    assert prequential.scores.mean("constant") == pytest.approx(-np.log(NormalDist(MEAN, SCALE).pdf(2.3)))


def test_pending_questions_survive_saving() -> None:
    """A question asked before saving is scored after loading as if nothing had happened."""
    prequential = PrequentialScores(4, 0.9)
    prequential.ask(Moment(0, FEATURES), MEAN, SCALE, {"model": RelativeForecast(0.5, 0.2, 0.1)})
    other = PrequentialScores(4, 0.9)
    other.load_state_dict(prequential.state_dict())
    ((mine, error),), ((theirs, same),) = prequential.settle(4, 2.3), other.settle(4, 2.3)
    assert (mine.tick, error) == (theirs.tick, same)
    np.testing.assert_array_equal(mine.features, theirs.features)
    assert numbers(prequential) == numbers(other)


def numbers(prequential: PrequentialScores) -> Mapping[str, Any]:
    return prequential.summary(("model", "constant"))
