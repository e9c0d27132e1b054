"""A frozen RSSM over the ticks of a training run: what the run is doing now as one vector, learned from other runs.

The weights are those of a world model trained elsewhere and never change here, so the same ticks lead to the same
latent in every run, and a model that was fitted on latents of stored runs reads those of this one. Without weights it
is the untrained model of seed 0: a random recurrent projection of the features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hpt.learned.forecast_model import Vector
from hpt.learned.rollout import FastRollout
from hpt.learned.rssm import SIZES
from hpt.learned.world_model import WorldModel
from hpt.numerics.stateful import Stateful

_BLOCK_TICKS = 16  # filtered at once, about a cycle's; the bits do not depend on it


class RunEncoder(Stateful):
    """Filters ticks by the posterior of a frozen world model.

    Its state holds the weights too, so that a run continues bit for bit whatever weights it is built with later.

    Args:
        weights: state dict of a `WorldModel`, copied; None for the untrained one of seed 0.
        dims: name of its sizes.

    Raises:
        RuntimeError: names or shapes of the weights are not those of such a model (torch's own message).
    """

    _state = ("_acting", "_model")

    def __init__(self, weights: Mapping[str, Tensor] | None, dims: str = "default") -> None:
        sizes = SIZES[dims]
        generator = torch.Generator().manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
        self._model = WorldModel(sizes, generator).requires_grad_(requires_grad=False)
        if weights is not None:
            self._model.load_state_dict(weights)
        self._acting = FastRollout(sizes, _BLOCK_TICKS)
        self._acting.load(self._model)

    def tick(self, features: Vector, actions: Vector) -> None:
        """Take in n >= 1 ticks: features (n, 64) after each, the actions (n, 3) that led there."""
        self._acting.tick(features, actions)

    def latent(self) -> Vector:
        """State of the run after the newest tick, (D + S,) float32, a copy: the deterministic part comes first."""
        return self._acting.latent()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`.

        Raises:
            CheckpointError: the state is of an encoder of other sizes.
        """
        super().load_state_dict(state)
        self._acting.load(self._model)
