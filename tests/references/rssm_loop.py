"""The RSSM one window and one tick at a time, in float64 numpy, from the weights of a torch model."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from references.gru import gru_cell
from references.kl import unimix

Array = NDArray[np.float64]
UNIMIX = 0.01


class LoopRSSM:
    """Slow twin of `RSSM` and `EnsembleHeads`; `weights` is a state dict as numpy arrays."""

    def __init__(self, weights: Mapping[str, Array], num_classes: int) -> None:
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
        self.num_classes = num_classes

    def next_deter(self, deter: Array, stoch: Array, action: Array) -> Array:
        w = self.w
        return gru_cell(
            np.concatenate((stoch, action)),
            deter,
            w["rssm.cell.weight_ih"],
            w["rssm.cell.weight_hh"],
            w["rssm.cell.bias_ih"],
            w["rssm.cell.bias_hh"],
        )

    def probabilities(self, logits: Array) -> Array:
        groups = logits.reshape(-1, self.num_classes)
        return np.concatenate([unimix(group.tolist(), UNIMIX) for group in groups])

    def observe(self, deter: Array, stoch: Array, features: Array, action: Array) -> tuple[Array, Array]:
        """One observed tick, by the posterior's probabilities."""
        w = self.w
        deter = self.next_deter(deter, stoch, action)
        squashed = np.sign(features) * np.log1p(np.abs(features))
        embed = np.tanh(w["rssm.encoder.weight"] @ squashed + w["rssm.encoder.bias"])
        logits = w["rssm.posterior.weight"] @ np.concatenate((deter, embed)) + w["rssm.posterior.bias"]
        return deter, self.probabilities(logits)

    def imagine(self, deter: Array, stoch: Array, action: Array) -> tuple[Array, Array]:
        """One imagined tick, by the prior's probabilities."""
        deter = self.next_deter(deter, stoch, action)
        return deter, self.probabilities(self.w["rssm.prior.weight"] @ deter + self.w["rssm.prior.bias"])

    def heads(self, deter: Array, stoch: Array) -> Array:
        """Outputs of all heads before any squashing."""
        w = self.w
        hidden = np.tanh(w["heads.trunk.weight"] @ np.concatenate((deter, stoch)) + w["heads.trunk.bias"])
        return w["heads.heads.weight"] @ hidden + w["heads.heads.bias"]
