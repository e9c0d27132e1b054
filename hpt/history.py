"""The one memory of a run's full steps: losses, gradient norms, rates, phases.

Steps are pending until the cycle that they belong to stands; then they become past, once and for all. Observers
(forecasters, gate, divergence monitor, features, CORRECT) read arrays from here and are shown pending steps only when
these become past, so that a rollback is one call, `drop`, and nothing that was undone is remembered anywhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpt.records import Phase

FloatArray = NDArray[np.float64]
NEVER = -1
"""Steps since the last kept jump, before the first."""


@dataclass(frozen=True, slots=True)
class StepStats:
    """n full steps in a row, oldest first; G is the number of parameter groups.

    Attributes:
        step: (n,) net optimizer updates after each step.
        loss: (n,) loss of the step's batch, the mean over its micro-batches.
        grad_norm: (n,) global gradient norm before clipping; NaN where it was not measured.
        group_grad_norms: (n, G) the same by parameter group.
        lr_frac: (n,) learning rate over the largest seen so far, first group.
        progress: (n,) step / total_steps; NaN when total_steps is unknown.
        cycle_frac: (n,) position inside the cycle, 1 at its end.
        steps_since_jump: (n,) full steps since the last kept jump; `NEVER` before the first.
        phase: WARMUP, FULL or CORRECT of each step.
    """

    step: NDArray[np.int64]
    loss: FloatArray
    grad_norm: FloatArray
    group_grad_norms: FloatArray
    lr_frac: FloatArray
    progress: FloatArray
    cycle_frac: FloatArray
    steps_since_jump: NDArray[np.int64]
    phase: tuple[Phase, ...]

    def __len__(self) -> int:
        return len(self.loss)
