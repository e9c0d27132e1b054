"""Features of the jumps made so far: time since the last one and its effect, and how much was jumped lately.

Before the first jump the start of the cycle stands in for it, so that time and effect are never dead. Sums over jumps
decay with the steps, gains over two cycles, verdicts over eight. A plain share of good jumps would creep up all run
long if all are good, and so repeat the step; the decaying sum, signed by the verdict and weighted by size, does not.
"""

import math
from collections.abc import Mapping
from typing import Any

from hpt.learned.facts import JumpOutcome, StepFacts

JUMP_NAMES = ("jump_recency", "jump_settling", "jump_size", "jump_effect", "jump_gain", "jump_verdicts")

_GAIN_CYCLES, _VERDICT_CYCLES = 2, 8


class JumpFeatures:
    """The features that tell of jumps.

    Attributes:
        values: the raw features in the order of `JUMP_NAMES`; the last four are 0 before the first jump.
    """

    def __init__(self, cycle_steps: int) -> None:
        self._cycle_steps = cycle_steps
        self._gain_decay = math.exp(-1 / (_GAIN_CYCLES * cycle_steps))
        self._verdict_decay = math.exp(-1 / (_VERDICT_CYCLES * cycle_steps))
        self._since = math.inf  # full steps since the last jump, or since the start of the cycle
        self._anchor = 0.0  # level of the loss then
        self._settling = 0.0
        self._size = 0.0
        self._effect = 0.0
        self._gain = 0.0
        self._verdicts = 0.0

    @property
    def values(self) -> tuple[float, ...]:
        """The six features; see the table in `features`."""
        recency = math.exp(-self._since / self._cycle_steps)
        return recency, self._settling, self._size, self._effect, self._gain, self._verdicts

    def observe_step(self, facts: StepFacts, level_before: float, fast_loss: float, noise: float) -> None:
        """Take in one full step; level of the loss before it, fast average after it, and noise, in loss units."""
        jumped = facts.steps_since_jump
        since = facts.cycle_frac * self._cycle_steps if jumped is None else float(jumped)
        if since <= self._since:
            self._anchor = level_before
        self._since = since
        self._settling = (fast_loss - self._anchor) / noise
        self._gain *= self._gain_decay
        self._verdicts *= self._verdict_decay

    def observe(self, outcome: JumpOutcome, noise: float) -> None:
        """Take in what became of a proposal; `noise` in loss units."""
        self._verdicts += outcome.norm_ratio if outcome.good else -outcome.norm_ratio
        if outcome.kept:
            self._size = outcome.norm_ratio
            self._effect = self._settling if outcome.loss_change is None else outcome.loss_change / noise
            self._gain += outcome.gain

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {name: getattr(self, f"_{name}") for name in _NUMBERS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name in _NUMBERS:
            setattr(self, f"_{name}", float(state[name]))


_NUMBERS = ("since", "anchor", "settling", "size", "effect", "gain", "verdicts")
