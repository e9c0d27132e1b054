"""Dynamic mode decomposition: displacements follow a linear map of low rank, and the map is run ahead.

With X = (u_0 .. u_{m-2}) and Y = (u_1 .. u_{m-1}) the displacements of successive cycles, Y = A X is
solved on the r leading proper orthogonal modes of X (Schmid, J. Fluid Mech. 656, 2010), found by the
method of snapshots (Sirovich 1987): X^T X = V S^2 V^T, modes X V / S, so that everything but the result
lives in m x m matrices:

    A~ = S^-1 V^T (X^T Y) V S^-1           b = S^-1 V^T X^T u_{m-1}
    jump = sum_{n=1..h} X V S^-1 W L^n W^-1 b        with A~ = W L W^-1

Eigenvalues outside the unit circle are drawn back to it: growth fitted to noise must not be forecast.
Used on weights by Dogra & Redman (arXiv:2006.02361) and Tano et al. (arXiv:2006.14371); we differ by one
map for all weights instead of one per layer or unit, and by starting afresh after each jump.
"""

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts, FloatArray
from hpt.predictors.extrapolation import (
    DEFAULT_WINDOW,
    Restarted,
    capped_proposal,
    past_coefficients,
    window_of,
)
from hpt.predictors.protocol import Proposal

_LEAST_RELATIVE_ENERGY = 1e-12  # squared singular values below this share of the largest are rounding
_LARGEST_CONDITION = 1e6  # of the eigenvectors; above it the map has no usable eigenbasis


def forecast_weights(gram: FloatArray, rank: int, ahead: int) -> FloatArray | None:
    """(m - 1,) factors on u_0 .. u_{m-2}, oldest first, of the movement over the next `ahead` cycles.

    Args:
        gram: (m, m) inner products of u_0 .. u_{m-1}, oldest first.
        rank: modes kept, at most m - 1.
        ahead: cycles to forecast, at least 1.

    Returns:
        None where X does not move or the map has no usable eigenbasis.
    """
    energy, vectors = np.linalg.eigh(gram[:-1, :-1])
    if energy[-1] <= 0.0:
        return None
    kept = np.flatnonzero(energy > _LEAST_RELATIVE_ENERGY * energy[-1])[-rank:]
    modes = vectors[:, kept] / np.sqrt(energy[kept])
    step = modes.T @ gram[:-1, 1:] @ modes
    newest = modes.T @ gram[:-1, -1]
    eigenvalues, eigenvectors = np.linalg.eig(step)
    if np.linalg.cond(eigenvectors) > _LARGEST_CONDITION:
        return None
    eigenvalues = eigenvalues / np.maximum(1.0, np.abs(eigenvalues))
    powers = sum(eigenvalues**n for n in range(1, ahead + 1))
    moved = eigenvectors @ (powers * np.linalg.solve(eigenvectors, newest.astype(eigenvectors.dtype)))
    return modes @ moved.real  # conjugate pairs cancel, what is imaginary is rounding


class DynamicModes(Restarted):
    """Jumps by the movement forecast for the next cycles, once in `num_past` cycles without a jump.

    Args:
        config: settings.
        num_past: m, displacements the map is fitted to.
        rank: r, modes kept.
        ahead: h, cycles to forecast.

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "dmd"

    def __init__(self, config: HybridConfig, num_past: int = 6, rank: int = 2, ahead: int = 1) -> None:
        super().__init__(num_past)
        self.rank = rank
        self.ahead = ahead
        self.window = window_of(config, DEFAULT_WINDOW)

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose the forecast movement; None while the past is short, broken or without a usable map."""
        gram = self.unbroken_gram(facts)
        weights = None if gram is None else forecast_weights(gram, self.rank, self.ahead)
        if weights is None:
            return None
        coefficients = past_coefficients(np.append(weights, 0.0))
        return capped_proposal(self.name, coefficients, self.ahead * facts.num_steps, max_horizon)
