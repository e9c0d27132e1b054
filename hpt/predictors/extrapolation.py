"""What the fixed predictors share: their window, the cap on their horizon, and where a past is unbroken.

A jump stands for a number of full steps (its horizon). One that would stand for more than allowed is
shortened along its own direction, so that a predictor never proposes more than the trainer asked for.

Sequence transformations (reduced rank extrapolation, dynamic mode decomposition) read successive
displacements as u_{i+1} = A u_i. A jump in between breaks that: the weights then continue from another
point. So these methods are run in cycles, as Sidi (Vector Extrapolation Methods, SIAM 2017, "cycling
mode") does: collect, extrapolate, start afresh.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.errors import ConfigError
from hpt.learned.facts import CycleFacts, FloatArray, JumpOutcome
from hpt.predictors.protocol import Proposal, Silent

# Progress at which extrapolation may act: the base preset's window, so that arms differ by direction alone.
DEFAULT_WINDOW = (0.10, 0.90)


def window_of(config: HybridConfig, default: tuple[float, float]) -> tuple[float, float]:
    """First and last progress at which jumps are wanted: the settings where given, else `default`.

    Raises:
        ConfigError: the window is empty.
    """
    start, end = config.predict.window_start_frac, config.predict.window_end_frac
    window = (default[0] if start is None else start, default[1] if end is None else end)
    if window[0] >= window[1]:
        raise ConfigError(
            f"predict.window_start_frac is {window[0]:g}, not below the window's end {window[1]:g}; "
            "lower it or raise predict.window_end_frac"
        )
    return window


def capped_proposal(name: str, coefficients: Mapping[str, float], horizon: float, max_horizon: int) -> Proposal | None:
    """Proposal along `coefficients`, shortened to `max_horizon` full steps; None if one is not finite.

    Args:
        name: predictor, and the arm under which its value is learned.
        coefficients: factor on each named direction, for the whole horizon.
        horizon: full steps the whole jump stands for.
        max_horizon: the most it may stand for.
    """
    factor = min(1.0, max_horizon / horizon) if horizon > 0 else 1.0
    scaled = {direction: factor * value for direction, value in coefficients.items()}
    if not all(math.isfinite(value) for value in scaled.values()):
        return None
    return Proposal(predictor=name, coefficients=scaled, horizon=min(max_horizon, max(1, round(horizon))), arm=name)


class Restarted(Silent):
    """Base of the methods that need several displacements in a row with no jump between them."""

    def __init__(self, num_past: int) -> None:
        self.num_past = num_past
        self._cycle_starts: list[int] = []
        self._jump_step: int | None = None

    def end_cycle(self, facts: CycleFacts) -> None:
        """Remember where the cycle began."""
        self._cycle_starts = [facts.step - facts.num_steps, *self._cycle_starts][: self.num_past]

    def judge(self, outcome: JumpOutcome) -> None:
        """A kept jump ends the present stretch of cycles."""
        if outcome.kept:
            self._jump_step = outcome.step

    def unbroken_gram(self, facts: CycleFacts) -> FloatArray | None:
        """Inner products of the last num_past displacements, oldest first; None while there are too few."""
        since = self._cycle_starts
        if self._jump_step is not None:
            since = [start for start in since if start >= self._jump_step]
        if facts.past_gram is None or min(len(since), len(facts.past_gram)) < self.num_past:
            return None
        newest_first = facts.past_gram[: self.num_past, : self.num_past]
        return newest_first[::-1, ::-1] if np.isfinite(newest_first).all() else None

    def state_dict(self) -> dict[str, Any]:
        """Where the last cycles began, and where the last kept jump was."""
        return {"cycle_starts": list(self._cycle_starts), "jump_step": self._jump_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._cycle_starts = [int(start) for start in state["cycle_starts"]]
        self._jump_step = None if state["jump_step"] is None else int(state["jump_step"])


def past_coefficients(oldest_first: FloatArray) -> dict[str, float]:
    """Name factors on successive displacements, given oldest first, as `Proposal` does (d0 the newest)."""
    return {f"d{age}": float(value) for age, value in enumerate(oldest_first[::-1])}
