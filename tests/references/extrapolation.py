"""Slow, obvious twins of the fixed predictors: on explicit weights, step by step, with no inner products."""

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


def fitted_line(states: Vector, time: float) -> Vector:
    """Value at `time` of the least-squares line through states (c + 1, P) at times 0 .. c, one by one."""
    times = np.arange(len(states))
    return np.array([np.polyval(np.polyfit(times, column, 1), time) for column in states.T])


def reduced_rank_limit(states: Vector) -> Vector:
    """RRE on states x_0 .. x_{q+1}: the constraint eliminated, gamma_0 = 1 - the rest, then least squares."""
    moves = np.diff(states, axis=0)
    against = (moves[1:] - moves[0]).T
    rest = np.linalg.lstsq(against, -moves[0], rcond=None)[0]
    gamma = np.concatenate([[1.0 - rest.sum()], rest])
    return gamma @ states[1:]


def mode_forecast(moves: Vector, rank: int, ahead: int) -> Vector:
    """Sum of the next moves by DMD on moves (m, P): explicit map, eigenvalues drawn to the unit circle."""
    earlier, later = moves[:-1].T, moves[1:].T
    left, sizes, right = np.linalg.svd(earlier, full_matrices=False)
    left, sizes, right = left[:, :rank], sizes[:rank], right[:rank]
    inside = left @ left.T
    full_map = inside @ later @ right.T @ np.diag(1.0 / sizes) @ left.T
    eigenvalues, eigenvectors = np.linalg.eig(full_map)
    clipped = eigenvalues / np.maximum(1.0, np.abs(eigenvalues))
    clipped[np.abs(eigenvalues) < 1e-9] = 0.0
    bounded = (eigenvectors @ np.diag(clipped) @ np.linalg.pinv(eigenvectors)).real
    total, move = np.zeros(len(full_map)), inside @ moves[-1]
    for _ in range(ahead):
        move = bounded @ move
        total = total + move
    return total
