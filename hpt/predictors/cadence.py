"""When the run jumps, and what the coming steps look like if it goes on like that.

A forecast needs the actions until its horizon. Jumps come at the end of cycles, so the recent past is continued:
another jump like the last one whenever K full steps have passed, as long as jumps are happening at all.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts, gain_of
from hpt.learned.forecast import ACTION_SIZE, Vector, action_vector
from hpt.predictors.protocol import Proposal

MAX_SINCE = 3.0  # cycles; the longest wait the action vector tells apart


class Cadence:
    """The jumps made so far, as actions of full steps.

    Args:
        cycle_steps: full steps in a cycle (K).
        max_ratio: trust region, |jump| over |last displacement|.
    """

    def __init__(self, cycle_steps: int, max_ratio: float) -> None:
        self._cycle_steps = cycle_steps
        self._max_ratio = max_ratio
        self._since: int | None = None
        self._size = (0.0, 0.0)

    def announce(self, proposal: Proposal, facts: CycleFacts) -> None:
        """Take note of the size |jump| / |d| and the gain of a proposal, as the trust region will leave them."""
        norm = facts.displacement_norm
        ratio = facts.jump_norm(proposal.coefficients) / norm if norm > 0.0 else 0.0
        gain = gain_of(proposal.coefficients)
        shortened = min(1.0, self._max_ratio / ratio) if ratio > 0.0 else 1.0
        self._size = (ratio * shortened, gain * shortened)

    def judge(self, outcome: JumpOutcome) -> None:
        """Take note of what the jump really was."""
        self._size = (outcome.norm_ratio, outcome.gain)

    def observe(self, facts: StepFacts) -> Vector:
        """Action (3,) that led to this step."""
        self._since = facts.steps_since_jump
        norm_ratio, gain = self._size if self._since == 1 else (0.0, 0.0)
        return action_vector(norm_ratio, gain, self._since, self._cycle_steps)

    def plan(self, num_steps: int, *, jumping: bool) -> Vector:
        """Actions (H, 3) of the coming steps; with `jumping`, jumps go on if there was one in the last two cycles."""
        cycle, since = self._cycle_steps, self._since
        actions = np.zeros((num_steps, ACTION_SIZE), dtype=np.float32)
        if since is None:
            actions[:, -1] = MAX_SINCE
            return actions
        steps = since + np.arange(1, num_steps + 1)
        if jumping and since <= 2 * cycle:
            wait = -since % cycle  # full steps before the next jump
            steps[wait:] = 1 + np.arange(num_steps - wait) % cycle
            actions[wait::cycle, :-1] = self._size
        actions[:, -1] = np.minimum(MAX_SINCE, steps / cycle)
        return actions

    def state_dict(self) -> dict[str, Any]:
        """Steps since the last kept jump, and the size of the last one."""
        return {"since": self._since, "size": list(self._size)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._since = None if state["since"] is None else int(state["since"])
        norm_ratio, gain = state["size"]
        self._size = (float(norm_ratio), float(gain))
