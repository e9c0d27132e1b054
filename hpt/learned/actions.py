"""The jumps of a run as actions of its ticks: those that were made, and those to come if it goes on like that.

A tick is a few full steps in a row, of which the models see the last.
"""

import numpy as np
from numpy.typing import NDArray

from hpt.history import NEVER
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.numerics.stateful import Stateful

ACTION_SIZE = 3
"""Norm ratio and gain of the jump inside the tick (0 without one), steps since the last jump / K in [0, 3]."""
MAX_SINCE = 3.0
"""Cycles; the longest wait the actions tell apart, and what "never" looks like."""


def tick_ends(num_steps: int, tick_steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (n,) at which the ticks of a block of full steps end, and their lengths (n,): the first takes what is over.

    The last step of a block always ends a tick, so a tick lies within one cycle.
    """
    ends = np.arange(num_steps - 1, -1, -tick_steps)[::-1]
    lengths = np.full(len(ends), tick_steps)
    lengths[0] = ends[0] + 1
    return ends, lengths


def action_vectors(
    size: tuple[float, float],
    steps_since_jump: NDArray[np.int64],
    cycle_steps: int,
    tick_steps: int | NDArray[np.int64] = 1,
) -> NDArray[np.float32]:
    """Actions (n, 3) of ticks of `tick_steps` full steps each.

    Args:
        size: norm ratio and gain of the jump.
        steps_since_jump: (n,) at the end of each tick.
        cycle_steps: K.
        tick_steps: of all ticks, or of each (n,).
    """
    actions = np.zeros((len(steps_since_jump), ACTION_SIZE), dtype=np.float32)
    actions[(steps_since_jump >= 1) & (steps_since_jump <= tick_steps), :-1] = size
    since = np.minimum(MAX_SINCE, steps_since_jump / cycle_steps)
    actions[:, -1] = np.where(steps_since_jump == NEVER, MAX_SINCE, since)
    return actions


class ActionPlanner(Stateful):
    """Turns full steps into actions, and plans ahead.

    A forecast needs the actions until its horizon. Jumps come at the end of cycles, so the recent past is continued:
    another jump like the last one whenever K full steps have passed, as long as jumps are happening at all.

    Args:
        cycle_steps: full steps in a cycle (K).
        tick_steps: full steps in a tick.
        max_ratio: trust region, |jump| over |last displacement|.
    """

    _state = ("since", "_size")

    def __init__(self, cycle_steps: int, tick_steps: int, max_ratio: float) -> None:
        self.since = NEVER  # full steps since the last kept jump
        self._cycle_steps, self._tick_steps = cycle_steps, tick_steps
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

    def observe(self, steps_since_jump: NDArray[np.int64], tick_steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Actions (n, 3) that led to n ticks of so many full steps (n,) each."""
        self.since = int(steps_since_jump[-1])
        return action_vectors(self._size, steps_since_jump, self._cycle_steps, tick_steps)

    def plan(self, since: int, num_ticks: int, *, jumping: bool) -> NDArray[np.float32]:
        """Actions (H, 3) of the coming ticks; with `jumping`, jumps go on if there was one in the last two cycles."""
        cycle, ahead = self._cycle_steps, self._tick_steps * np.arange(1, num_ticks + 1)
        if since == NEVER:
            return action_vectors((0.0, 0.0), np.full(num_ticks, NEVER), cycle)
        if not jumping or since > 2 * cycle:
            return action_vectors((0.0, 0.0), since + ahead, cycle)
        wait = -since % cycle  # full steps before the next jump
        steps = np.where(ahead > wait, 1 + (ahead - wait - 1) % cycle, since + ahead)
        return action_vectors(self._size, steps, cycle, self._tick_steps)
