"""The regressed displacement: where the weights went, learned in hindsight, is where they are sent next.

Ridge regression of each cycle's displacement on what was known before it,

    d_k  ~  c_0 d_{k-1} + sum_mu c_mu E_{k-1,mu}      jump = c_0 d_k + sum_mu c_mu E_{k,mu}   (one cycle)

by normal equations with forgetting, so inner products suffice: those of the regressors are the previous
cycle's gram, those with d_k are `lagged` and the neighbouring displacements' product. The objective is
that of the weight nowcasters (NiNo, arXiv:2409.04434; RELEX, arXiv:2605.21468) in its smallest form.

Kept as the negative result it is: on a small GPT it gave nothing over a tuned AdamW, and on an MLP it
hurt (0.54-0.68 times the efficiency). Only 3-5 % of a displacement is predictable from earlier ones,
successive displacements are anti-correlated, and the regression learns that sign, while what pays is a
jump along the trend. That was measured in Adam's metric and, with the same picture, in the Euclidean one,
which is the one here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts, FloatArray
from hpt.predictors.extrapolation import DEFAULT_WINDOW, capped_proposal, window_of
from hpt.predictors.protocol import Proposal, Silent


class Hindsight(Silent):
    """Jumps by the predicted next displacement.

    Args:
        config: settings.
        forgetting: factor on past evidence per cycle.
        ridge: regularisation relative to the mean squared regressor.

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "hindsight"
    scales = (0.5, 0.8, 0.95)
    num_past = 2

    def __init__(self, config: HybridConfig, forgetting: float = 0.95, ridge: float = 1e-4) -> None:
        self.forgetting = forgetting
        self.ridge = ridge
        self.window = window_of(config, DEFAULT_WINDOW)
        size = 1 + len(self.scales)
        self._regressors = np.zeros((size, size))
        self._targets = np.zeros(size)
        self._num_pairs = 0
        self._previous_gram: FloatArray | None = None

    def end_cycle(self, facts: CycleFacts) -> None:
        """Add the pair (what was known a cycle ago, the displacement since) to the normal equations."""
        columns = [facts.scales.index(mu) for mu in self.scales]
        if self._previous_gram is not None and facts.past_gram is not None:
            lagged = facts.lagged.sum(axis=0)[columns]
            products = np.concatenate([[facts.past_gram[0, 1]], lagged])
            self._regressors = self.forgetting * self._regressors + self._previous_gram
            self._targets = self.forgetting * self._targets + products
            self._num_pairs += 1
        basis = [0, *(1 + column for column in columns)]
        self._previous_gram = facts.gram.sum(axis=0)[np.ix_(basis, basis)]

    def coefficients(self) -> FloatArray:
        """(1 + S,) ridge solution for (d, E_1 .. E_S); zeros before anything moved."""
        size = len(self._targets)
        penalty = self.ridge * float(np.trace(self._regressors)) / size
        if not penalty > 0.0:
            return np.zeros(size)
        matrix = self._regressors + penalty * np.eye(size)
        return np.asarray(np.linalg.solve(matrix, self._targets), dtype=np.float64)

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose the predicted displacement of the next cycle, from as many pairs as coefficients on."""
        if self._num_pairs < len(self._targets):
            return None
        names = ["d", *(f"E{mu:g}" for mu in self.scales)]
        coefficients = dict(zip(names, self.coefficients().tolist(), strict=True))
        return capped_proposal(self.name, coefficients, facts.num_steps, max_horizon)

    def summary(self) -> Mapping[str, Any]:
        """The coefficients at the end of the run."""
        return {"num_pairs": self._num_pairs, "coefficients": self.coefficients().tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Normal equations, number of pairs and the gram of the last cycle."""
        return {
            "regressors": self._regressors.copy(),
            "targets": self._targets.copy(),
            "num_pairs": self._num_pairs,
            "previous_gram": None if self._previous_gram is None else self._previous_gram.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._regressors = np.array(state["regressors"], dtype=np.float64)
        self._targets = np.array(state["targets"], dtype=np.float64)
        self._num_pairs = int(state["num_pairs"])
        kept = state["previous_gram"]
        self._previous_gram = None if kept is None else np.array(kept, dtype=np.float64)
