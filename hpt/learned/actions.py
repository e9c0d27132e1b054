"""The jumps of a run as actions of its full steps: those that were made, and those to come if it goes on like that."""

import numpy as np
from numpy.typing import NDArray

from hpt.history import NEVER
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.numerics.stateful import Stateful

ACTION_SIZE = 3
"""Norm ratio and gain of the jump right before the step (0 without one), steps since the last jump / K in [0, 3]."""
MAX_SINCE = 3.0
"""Cycles; the longest wait the actions tell apart, and what "never" looks like."""


def action_vectors(
    size: tuple[float, float], steps_since_jump: NDArray[np.int64], cycle_steps: int
) -> NDArray[np.float32]:
    """Actions (n, 3) of full steps (n,); `size` is norm ratio and gain of the jump before a step that is the first."""
    actions = np.zeros((len(steps_since_jump), ACTION_SIZE), dtype=np.float32)
    actions[steps_since_jump == 1, :-1] = size
    since = np.minimum(MAX_SINCE, steps_since_jump / cycle_steps)
    actions[:, -1] = np.where(steps_since_jump == NEVER, MAX_SINCE, since)
    return actions


class ActionPlanner(Stateful):
    """Turns full steps into actions, and plans ahead.

    A forecast needs the actions until its horizon. Jumps come at the end of cycles, so the recent past is continued:
    another jump like the last one whenever K full steps have passed, as long as jumps are happening at all.

    Args:
        cycle_steps: full steps in a cycle (K).
        max_ratio: trust region, |jump| over |last displacement|.
    """

    _state = ("since", "_size")

    def __init__(self, cycle_steps: int, max_ratio: float) -> None:
        self.since = NEVER  # full steps since the last kept jump
        self._cycle_steps = cycle_steps
        self._max_ratio = max_ratio
        self._size = (0.0, 0.0)

    def announce(self, delta: WeightDelta, stats: CycleStats) -> None:
        """Take note of the size |jump| / |d| and the gain of a proposed jump, as the trust region will leave them."""
        norm = stats.displacement_norm
        ratio = stats.delta_norm(delta) / norm if norm > 0.0 else 0.0
        shortened = min(1.0, self._max_ratio / ratio) if ratio > 0.0 else 1.0
        self._size = (ratio * shortened, delta.gain * shortened)

    def judge(self, outcome: JumpOutcome) -> None:
        """Take note of what the jump really was."""
        self._size = (outcome.norm_ratio, outcome.gain)

    def observe(self, steps_since_jump: NDArray[np.int64]) -> NDArray[np.float32]:
        """Actions (n, 3) that led to n full steps."""
        self.since = int(steps_since_jump[-1])
        return action_vectors(self._size, steps_since_jump, self._cycle_steps)

    def plan(self, since: int, num_steps: int, *, jumping: bool) -> NDArray[np.float32]:
        """Actions (H, 3) of the coming steps; with `jumping`, jumps go on if there was one in the last two cycles."""
        cycle = self._cycle_steps
        steps = np.full(num_steps, NEVER) if since == NEVER else since + np.arange(1, num_steps + 1)
        actions = action_vectors((0.0, 0.0), steps, cycle)
        if jumping and NEVER < since <= 2 * cycle:
            wait = -since % cycle  # full steps before the next jump
            actions[wait:, -1] = np.minimum(MAX_SINCE, (1 + np.arange(num_steps - wait) % cycle) / cycle)
            actions[wait::cycle, :-1] = self._size
        return actions
