"""Plain numbers that cycles and jumps give off: no tensor, no clock, so that decisions on them repeat bit for bit."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt.jump.delta import WeightDelta

FloatArray = NDArray[np.float64]

_LEAST_NORM = 1e-300  # a run that stands still has no direction, and no division by zero either


@dataclass(frozen=True, slots=True)
class CycleStats:
    """Inner products of the trajectory at the end of a cycle of `num_steps` full steps.

    The directions are d (displacement over the cycle) and E (the bias-corrected trend, this cycle included); G is the
    number of parameter groups.

    Attributes:
        cycle: cycles finished, this one included (1 for the first).
        step: net optimizer updates so far.
        num_steps: full steps in this cycle (K).
        progress: step / total_steps, None when unknown.
        lr_frac: learning rate over the largest seen.
        scale: decay of the trend over cycles.
        gram: (G, 2, 2) inner products of (d, E).
        lagged: (G,) inner products of d with the trend as it was before this cycle; zeros for the first cycle.
        lagged_norms: (G,) squared norms of that earlier trend.
        weight_norms: (G,) norms of the weights.
    """

    cycle: int
    step: int
    num_steps: int
    progress: float | None
    lr_frac: float
    scale: float
    gram: FloatArray
    lagged: FloatArray
    lagged_norms: FloatArray
    weight_norms: FloatArray

    @property
    def displacement_norm(self) -> float:
        """|d| over all groups."""
        return math.sqrt(self.gram[:, 0, 0].sum())

    def norm_ratio(self, norm: float) -> float:
        """A jump's norm over the displacement's."""
        return norm / max(self.displacement_norm, _LEAST_NORM)

    def delta_norm(self, delta: WeightDelta) -> float:
        """|-pull_back d + gain E|; an orthogonal trend counts as the trend, noise as a direction of norm |d|."""
        if delta.noise_seed is not None:
            return abs(delta.gain) * self.displacement_norm
        weights = np.array([-delta.pull_back, delta.gain])
        return math.sqrt(max(0.0, weights @ self.gram.sum(axis=0) @ weights))


@dataclass(frozen=True, slots=True)
class JumpOutcome:
    """What became of a proposal.

    Attributes:
        step: net updates at the jump.
        arm: name of the choice that was played.
        kept: applied and not undone.
        rolled_back: applied, kept by the probe, undone after CORRECT.
        norm_ratio: |jump| / |last displacement|.
        gain: gain of the weight delta as applied.
        loss_change: probed loss after minus before the jump; None if not probed.
        good: kept, not rolled back, and the loss settled inside the forecast's band.
    """

    step: int
    arm: str
    kept: bool
    rolled_back: bool
    norm_ratio: float
    gain: float
    loss_change: float | None
    good: bool
