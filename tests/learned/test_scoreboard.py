"""The scoreboard averages scores as defined and lets nobody lead who has not beaten the baseline."""

import math

import numpy as np
import pytest

from hpt.learned.scoreboard import Scoreboard


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


def test_state_continues_bit_for_bit() -> None:
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
