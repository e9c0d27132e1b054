"""Slow, obvious twins of the outer optimizers: on explicit weights, step by step, with no inner products."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def outer_nesterov_jumps(displacements: Vector, rate: float, momentum: float) -> Vector:
    """Jumps (cycles, P) of SNOO: b <- momentum b + d; theta <- theta_start + rate (momentum b + d)."""
    buffer = np.zeros(displacements.shape[1])
    jumps: list[Vector] = []
    for d in displacements:
        buffer = momentum * buffer + d
        jumps.append(rate * (momentum * buffer + d) - d)
    return np.array(jumps)


def ema_nesterov_run(updates: Vector, decay: float, strength: float) -> tuple[Vector, Vector]:
    """EMA-Nesterov given what the optimizer would add at each step (steps, P): final weights and trend m."""
    weights = np.zeros(updates.shape[1])
    before = weights.copy()
    trend = np.zeros_like(weights)
    for update in updates:
        weights = weights + strength * trend
        weights = weights + update
        trend = decay * trend + (1.0 - decay) * (weights - before)
        before = weights.copy()
    return weights, trend
