"""LinUCB equals its slow twin and finds what depends on the context."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.linucb import SlowLinUCB

from hpt.control.bandit import LinUCB


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    num_arms=st.integers(1, 4),
    size=st.integers(1, 4),
    alpha=st.floats(0.0, 3.0),
    ridge=st.floats(0.1, 10.0),
)
def test_scores_and_choices_equal_the_slow_twin(
    seed: int, num_arms: int, size: int, alpha: float, ridge: float
) -> None:
    """Running sums equal rebuilding everything from all past plays, within rounding, for 25 plays."""
    rng = np.random.default_rng(seed)
    bandit = LinUCB([f"arm {index}" for index in range(num_arms)], size, alpha, ridge)
    twin = SlowLinUCB(num_arms, size, alpha, ridge)
    for _ in range(25):
        context = rng.standard_normal(size)
        expected = [twin.score(arm, context) for arm in range(num_arms)]
        choice = bandit.choose(context)
        assert choice.scores == pytest.approx(expected, rel=1e-8, abs=1e-8)
        assert choice.scores[choice.arm] == max(choice.scores)
        reward = float(rng.standard_normal())
        bandit.observe(context, choice.arm, reward)
        twin.observe(context, choice.arm, reward)


def test_off_diagonal_terms_matter() -> None:
    """Two equal features share one effect: theta = n / (2 n + 1), where a diagonal A gives n / (n + 1)."""
    bandit = LinUCB(["only"], 2, alpha=0.0)
    for _ in range(10):
        bandit.observe([1.0, 1.0], 0, 1.0)
    assert bandit.choose([1.0, 0.0]).means[0] == pytest.approx(10.0 / 21.0)


def test_it_beats_the_best_fixed_arm_where_the_best_arm_depends_on_the_context() -> None:
    """Three arms, each best in a third of the situations: regret below a third of the best fixed arm's."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((3, 4))
    contexts = rng.standard_normal((600, 4))
    rewards = contexts @ weights.T
    bandit = LinUCB(["a", "b", "c"], 4)
    earned = 0.0
    for context, reward in zip(contexts, rewards, strict=True):
        arm = bandit.choose(context).arm
        earned += reward[arm]
        bandit.observe(context, arm, float(reward[arm] + 0.3 * rng.standard_normal()))
    best = rewards.max(axis=1).sum()
    fixed = rewards.sum(axis=0).max()
    assert best - earned < (best - fixed) / 3


def test_it_settles_on_the_best_of_constant_arms() -> None:
    """With one context it is an ordinary bandit: at least 90 of the last 100 plays go to the best."""
    rng = np.random.default_rng(1)
    bandit = LinUCB(["none", "short", "long"], 1)
    chosen: list[str] = []
    for _ in range(300):
        choice = bandit.choose([1.0])
        chosen.append(choice.name)
        bandit.observe([1.0], choice.arm, [0.0, 0.5, 1.0][choice.arm] + 0.3 * float(rng.standard_normal()))
    assert chosen[-100:].count("long") >= 90
    assert bandit.plays == tuple(chosen.count(name) for name in bandit.arms)


def test_ties_go_to_the_first_arm() -> None:
    """Before any play all arms are equal; and again after equal plays."""
    bandit = LinUCB(["first", "second"], 2)
    assert bandit.choose([1.0, 2.0]).name == "first"
    bandit.observe([1.0, 2.0], 0, 1.0)
    bandit.observe([1.0, 2.0], 1, 1.0)
    assert bandit.choose([1.0, 2.0]).name == "first"


def test_a_restored_bandit_continues_exactly() -> None:
    """Same scores, bit for bit, before and after further plays; plain lists are accepted."""
    rng = np.random.default_rng(3)
    bandit, twin = LinUCB(["a", "b"], 3), LinUCB(["a", "b"], 3)
    for _ in range(70):
        bandit.observe(rng.standard_normal(3), int(rng.integers(2)), float(rng.standard_normal()))
    state = {
        key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in bandit.state_dict().items()
    }
    twin.load_state_dict(json.loads(json.dumps(state)))
    for _ in range(70):
        context = rng.standard_normal(3)
        assert twin.choose(context) == bandit.choose(context)
        bandit.observe(context, 0, 0.5)
        twin.observe(context, 0, 0.5)
