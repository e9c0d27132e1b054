"""How much of the latent state's opinion to believe, by what it was worth before its answers were new.

A few dozen updates on one run overfit more easily than they inform. So every cycle the heads are first asked about
losses they were not yet trained on (prequential, Dawid 1984), with their shift and log scale multiplied by each
of a grid of factors, and the factors' weights follow their likelihood, as in a Bayesian mixture or the exponentially
weighted forecaster (Cesa-Bianchi & Lugosi 2006, chapter 2). Before evidence the weights favour small factors; evidence
fades, because a run changes. What comes out is one factor in [0, 1] on the shift and one on the log scale.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GRID = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_RELUCTANCE = 3.0
"""Nats against believing the latent in full, for shift and scale each, before there is evidence."""
_MEMORY = 0.98
"""Decay of the evidence per cycle."""
_OBSERVATIONS = 4.0
"""Independent observations that one cycle's losses are worth: they share their level, but not their batches."""
_CLIP = 9.0
"""Largest squared error in variances: a spike may not settle the matter."""


class Trust:
    """Factors on the latent's part of a forecast.

    Attributes:
        shift: posterior mean factor on its shift.
        log_scale: the same for its log scale.
    """

    def __init__(self) -> None:
        self._evidence = np.zeros((len(_GRID), len(_GRID)))
        self._weigh()

    def judge(self, residuals: NDArray[Any], shifts: NDArray[Any], log_scales: NDArray[Any], new: NDArray[Any]) -> None:
        """Take in one cycle's forecasts, made before their outcome was learned from.

        Args:
            residuals: (H, B) standardised errors less the anchored part of the forecast.
            shifts: (H, B) the latent's part, mean over heads.
            log_scales: (H, B) mean over heads.
            new: (H, B) 1 where the outcome has never been learned from, else 0.
        """
        total = new.sum()
        if total == 0:
            return
        means, logs = _GRID[:, None, None, None] * shifts, _GRID[:, None, None] * log_scales
        squares = np.minimum(((residuals - means) * np.exp(-logs)) ** 2, _CLIP)
        nll = ((0.5 * squares + logs) * new).sum((-2, -1)) / total
        self._evidence = _MEMORY * self._evidence - _OBSERVATIONS * nll
        self._evidence -= self._evidence.max()
        self._weigh()

    def _weigh(self) -> None:
        log_weights = self._evidence - _RELUCTANCE * (_GRID[:, None] + _GRID)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        self.shift, self.log_scale = float(weights.sum(1) @ _GRID), float(weights.sum(0) @ _GRID)

    def state_dict(self) -> dict[str, Any]:
        """The evidence."""
        return {"evidence": self._evidence.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._evidence = np.array(state["evidence"], dtype=np.float64)
        self._weigh()
