"""Reduced rank extrapolation: the weighted mean of the last states whose displacement is least.

For a fixed-point iteration x_{i+1} = F(x_i) with displacements u_i = x_{i+1} - x_i, i = 0 .. q,

    gamma = argmin |sum_i gamma_i u_i|^2  with  sum_i gamma_i = 1          (Sidi, SIAM 2017, chapter 2)
    gamma proportional to (U^T U + ridge)^-1 1

and the limit is estimated as sum_i gamma_i x_{i+1} (the later of two usual choices: it is Anderson mixing
with step one). Relative to the last state that is -sum_{j>=1} (gamma_0 + .. + gamma_{j-1}) u_j. Exact for
an affine F of q modes. Only U^T U is needed. Noise makes gamma wild, hence ridge, damping and a cap on
the length of the jump; damping .3 and cap .5 |d| are the mildest settings tried, and even they lost to
plain training on a small GPT (measured).
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


def limit_weights(gram: FloatArray, ridge: float) -> FloatArray:
    """(q + 1,) factors on u_0 .. u_q, oldest first, that lead from the last state to the estimated limit.

    Args:
        gram: (q + 1, q + 1) inner products of u_0 .. u_q, oldest first.
        ridge: regularisation relative to the mean squared displacement.

    Raises:
        numpy.linalg.LinAlgError: the displacements are dependent and the ridge is 0.
    """
    size = len(gram)
    penalty = ridge * float(np.trace(gram)) / size
    solved = np.asarray(np.linalg.solve(gram + penalty * np.eye(size), np.ones(size)), dtype=np.float64)
    partial_sums = np.cumsum(solved) / solved.sum()
    return -np.append(0.0, partial_sums[:-1])


class ReducedRank(Restarted):
    """Jumps towards the estimated limit, once in q + 1 cycles without a jump.

    Args:
        config: settings.
        order: q, number of modes that can be removed.
        ridge: regularisation relative to the mean squared displacement.
        damping: share of the way to the limit.
        cap: largest jump relative to the last displacement.

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "rre"

    def __init__(
        self,
        config: HybridConfig,
        order: int = 5,
        ridge: float = 1e-6,
        damping: float = 0.3,
        cap: float = 0.5,
    ) -> None:
        super().__init__(num_past=order + 1)
        self.ridge = ridge
        self.damping = damping
        self.cap = cap
        self.window = window_of(config, DEFAULT_WINDOW)

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose the damped, capped step to the limit; None while the past is short, broken or still."""
        gram = self.unbroken_gram(facts)
        if gram is None or gram[-1, -1] <= 0.0:
            return None
        try:
            weights = self.damping * limit_weights(gram, self.ridge)
        except np.linalg.LinAlgError:
            return None
        length = np.sqrt(max(0.0, weights @ gram @ weights) / gram[-1, -1])
        weights *= min(1.0, self.cap / length) if length > 0.0 else 1.0
        coefficients = past_coefficients(weights)
        return capped_proposal(self.name, coefficients, float(weights.sum()) * facts.num_steps, max_horizon)
