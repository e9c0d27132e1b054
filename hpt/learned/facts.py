"""The plain numbers that a training run gives off: one record a full step, one a cycle, one a jump.

Everything that decides or learns reads these and nothing else: no tensor, no clock, no free memory, so that a run
repeats bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt.records import Phase

FloatArray = NDArray[np.float64]

_LEAST_NORM = 1e-300  # a run that stands still has no direction, and no division by zero either


def gain_of(coefficients: Mapping[str, float]) -> float:
    """g, the sum of a jump's coefficients on the averages E<mu>, orthogonalized or not."""
    return sum(factor for name, factor in coefficients.items() if name.startswith(("E", "O")))


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One full step.

    Attributes:
        step: net optimizer updates after this one.
        loss: loss of the step's batch (mean over its micro-batches).
        grad_norm: global gradient norm before clipping.
        group_grad_norms: the same for each parameter group of the optimizer.
        lr_frac: learning rate over the largest seen so far, first group.
        progress: step / total_steps, None when total_steps is unknown.
        phase: WARMUP, FULL or CORRECT.
        cycle_frac: position inside the cycle, 0 right after its start, 1 at its end.
        steps_since_jump: full steps since the last kept jump; None before the first.
    """

    step: int
    loss: float
    grad_norm: float
    group_grad_norms: tuple[float, ...]
    lr_frac: float
    progress: float | None
    phase: Phase
    cycle_frac: float
    steps_since_jump: int | None


@dataclass(frozen=True, slots=True)
class CycleFacts:
    """Inner products of the trajectory at the end of a cycle of `num_steps` full steps.

    The directions are d (displacement over the cycle) and, for each time scale mu, the bias-corrected EMA E of the
    displacements up to and including this cycle; G is the number of parameter groups, S of time scales.

    Attributes:
        cycle: cycles finished, this one included (k in the formulas; 1 for the first).
        step: net optimizer updates so far.
        num_steps: full steps in this cycle (K).
        progress: step / total_steps, None when unknown.
        lr_frac: learning rate over the largest seen.
        scales: the S decays mu.
        gram: (G, 1 + S, 1 + S) inner products of (d, E_1 .. E_S).
        lagged: (G, S) inner products of d with the EMAs as they were before this cycle; zeros for the first cycle.
        lagged_norms: (G, S) squared norms of those earlier EMAs.
        weight_norms: (G,) norms of the weights.
        past_gram: (m, m) inner products of the last m displacements, newest first, m <= num_past; None if not kept.
    """

    cycle: int
    step: int
    num_steps: int
    progress: float | None
    lr_frac: float
    scales: tuple[float, ...]
    gram: FloatArray
    lagged: FloatArray
    lagged_norms: FloatArray
    weight_norms: FloatArray
    past_gram: FloatArray | None

    @property
    def displacement_norm(self) -> float:
        """|d| over all groups."""
        return float(np.sqrt(self.gram[:, 0, 0].sum()))

    def norm_ratio(self, norm: float) -> float:
        """A jump's norm over the displacement's."""
        return norm / max(self.displacement_norm, _LEAST_NORM)

    def jump_norm(self, coefficients: dict[str, float]) -> float:
        """|sum of coefficient x direction| for d and E<mu> (names as in `Proposal`); O<mu> counts as E<mu>."""
        averages = [coefficients.get(f"E{mu:g}", 0.0) + coefficients.get(f"O{mu:g}", 0.0) for mu in self.scales]
        weights = np.array([coefficients.get("d", 0.0), *averages])
        return float(np.sqrt(max(0.0, weights @ self.gram.sum(axis=0) @ weights)))


@dataclass(frozen=True, slots=True)
class JumpOutcome:
    """What became of a proposal.

    Attributes:
        step: net updates at the jump.
        arm: name of the arm that was played.
        kept: applied and not undone.
        rolled_back: applied, kept by the probe, undone after CORRECT.
        norm_ratio: |jump| / |last displacement|.
        gain: g of the proposal (sum of the EMA coefficients).
        loss_change: probed loss after minus before the jump; None if not probed.
        good: kept, not rolled back, and the loss settled inside the forecast's band (fork: positive value).
        value: loss saved against the no-jump twin (forks only), positive is better.
        value_se: its standard error.
    """

    step: int
    arm: str
    kept: bool
    rolled_back: bool
    norm_ratio: float
    gain: float
    loss_change: float | None
    good: bool
    value: float | None = None
    value_se: float | None = None
