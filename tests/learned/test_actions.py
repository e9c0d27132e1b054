"""Actions of steps that were made, and planned ones against a walk through the coming steps one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.planted_runs import cycle_of, outcome_of

from hpt.history import NEVER
from hpt.jump.delta import WeightDelta
from hpt.learned.actions import ACTION_SIZE, ActionPlanner, action_vectors, tick_ends


def walk(since: int, size: tuple[float, float], cycle: int, num_steps: int, *, jumping: bool) -> list[list[float]]:
    """Step by step: jump when a whole number of cycles has passed since the last jump, then count on."""
    going = jumping and NEVER < since <= 2 * cycle
    rows: list[list[float]] = []
    for _ in range(num_steps):
        jump = going and since % cycle == 0
        since = since if since == NEVER else (1 if jump else since + 1)
        rows.append([*(size if jump else (0.0, 0.0)), 3.0 if since == NEVER else min(3.0, since / cycle)])
    return rows


@settings(max_examples=60, deadline=None)
@given(
    since=st.just(NEVER) | st.integers(1, 50),
    cycle=st.integers(2, 15),
    num_ticks=st.integers(1, 40),
    tick_steps=st.integers(1, 6),
    jumping=st.booleans(),
)
def test_plan_equals_a_walk(since: int, cycle: int, num_ticks: int, tick_steps: int, jumping: bool) -> None:
    """A tick has the jump that the walk makes in one of its steps, of the last one's size, and its end's position."""
    planner = ActionPlanner(cycle, tick_steps, 1.5)
    planner.judge(outcome_of(100, "full", good=True))  # norm ratio .5, gain 1.8
    plan = planner.plan(since, num_ticks, jumping=jumping)
    steps = np.array(walk(since, (0.5, 1.8), cycle, num_ticks * tick_steps, jumping=jumping), dtype=np.float32)
    expected = steps.reshape(num_ticks, tick_steps, 3)
    np.testing.assert_allclose(plan[:, :-1], expected[..., :-1].max(axis=1))
    np.testing.assert_allclose(plan[:, -1], expected[:, -1, -1])


@given(num_steps=st.integers(1, 70), tick_steps=st.integers(1, 9))
def test_ticks_cover_a_block(num_steps: int, tick_steps: int) -> None:
    """Every step lies in one tick, the last ends one, and only the first may be shorter."""
    ends, lengths = tick_ends(num_steps, tick_steps)
    assert ends[-1] == num_steps - 1
    np.testing.assert_array_equal(lengths.cumsum() - 1, ends)
    assert 1 <= lengths[0] <= tick_steps
    assert (lengths[1:] == tick_steps).all()


def test_the_action_of_a_step_names_the_jump_right_before_it() -> None:
    """The size inside the trust region is the action of the first step after the jump, and of no other."""
    planner, stats = ActionPlanner(20, 1, 1.5), cycle_of(5, 20, 0)
    planner.announce(WeightDelta(0.5, 4.0, 0.8), stats)
    gram = stats.gram[0]
    ratio = np.sqrt(0.25 * gram[0, 0] - 4.0 * gram[0, 1] + 16.0 * gram[1, 1]) / np.sqrt(gram[0, 0])
    assert ratio > 1.5  # so the trust region shortens it
    actions = planner.observe(np.array([NEVER, 1, 2]), np.ones(3, dtype=np.int64))
    np.testing.assert_allclose(actions, [[0, 0, 3], [1.5, 4.0 * 1.5 / ratio, 0.05], [0, 0, 0.1]], rtol=1e-6)
    assert planner.since == 2


@pytest.mark.parametrize(("since", "expected"), [(NEVER, 3.0), (0, 0.0), (5, 0.5), (30, 3.0), (99, 3.0)])
def test_actions_count_cycles_since_the_jump(since: int, expected: float) -> None:
    """The third number is steps since the jump over K, clipped to 3, and 3 for never."""
    actions = action_vectors((0.7, 2.0), np.array([since]), 10)
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(actions, np.array([[0.0, 0.0, expected]], dtype=np.float32))
    assert actions.shape == (1, ACTION_SIZE)
