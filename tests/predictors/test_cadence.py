"""Planned actions against a walk through the coming steps one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from references.planted_runs import cycle_of, outcome_of, step_of

from hpt.predictors.cadence import Cadence
from hpt.predictors.nesterov import proposal_of


def walk(
    since: int | None, size: tuple[float, float], cycle: int, num_steps: int, *, jumping: bool
) -> list[list[float]]:
    """Step by step: jump when a whole number of cycles has passed since the last jump, then count on."""
    going = jumping and since is not None and since <= 2 * cycle
    rows: list[list[float]] = []
    for _ in range(num_steps):
        jump = going and since is not None and since % cycle == 0
        since = None if since is None else (1 if jump else since + 1)
        rows.append([*(size if jump else (0.0, 0.0)), 3.0 if since is None else min(3.0, since / cycle)])
    return rows


@settings(max_examples=60, deadline=None)
@given(
    since=st.one_of(st.none(), st.integers(1, 50)),
    cycle=st.integers(2, 15),
    num_steps=st.integers(1, 40),
    jumping=st.booleans(),
)
def test_plan_equals_a_walk(since: int | None, cycle: int, num_steps: int, jumping: bool) -> None:
    """Jumps come where the walk makes them, of the last one's size, and the position counts from them."""
    cadence = Cadence(cycle, 1.5)
    cadence.observe(step_of(100, 2.0, cycle, since, 0))
    cadence.judge(outcome_of(100, "0.8x1", good=True))  # norm ratio .5, gain 1.8
    plan = cadence.plan(num_steps, jumping=jumping)
    expected = walk(since, (0.5, 1.8), cycle, num_steps, jumping=jumping)
    np.testing.assert_allclose(plan, np.array(expected, dtype=np.float32))


def test_the_action_of_a_step_names_the_jump_right_before_it() -> None:
    """The size inside the trust region is the action of the first step after the jump, and of no other."""
    cadence, facts = Cadence(20, 1.5), cycle_of(5, 20, 0)
    proposal = proposal_of("rssm", 0.5, 4.0, "E0.8", 20, 75, "0.8x1")
    cadence.announce(proposal, facts)
    gram = facts.gram[0]
    ratio = np.sqrt(0.25 * gram[0, 0] - 4.0 * gram[0, 1] + 16.0 * gram[1, 1]) / np.sqrt(gram[0, 0])
    assert ratio > 1.5  # so the trust region shortens it
    np.testing.assert_allclose(cadence.observe(step_of(101, 2.0, 20, 1, 0)), [1.5, 4.0 * 1.5 / ratio, 0.05], rtol=1e-6)
    np.testing.assert_allclose(cadence.observe(step_of(102, 2.0, 20, 2, 0)), [0.0, 0.0, 0.1], rtol=1e-6)
