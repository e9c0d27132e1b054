"""Control: a jump of the usual size in a random direction.

Shows what moving the weights does when the direction means nothing. Entries are N(0, 1) ratio |d| /
sqrt(P), so that the squared norm of the whole jump is (ratio |d|)^2 in expectation, for P trained
numbers. The stream of each parameter is its own, by (seed, cycle, parameter index): whoever asks, in
whatever order and how often, gets the same direction.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.protocol import Proposal, Silent


class Random(Silent):
    """Jumps along Gaussian noise when, and for as long as, the preset would.

    Args:
        config: settings, as for the preset; `seed` fixes the directions.
        num_parameters: P, numbers trained.
        norm_ratio: length of the jump relative to |d| (the default preset's is .58 to .75, by workload).

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "random"

    def __init__(self, config: HybridConfig, num_parameters: int, norm_ratio: float = 0.67) -> None:
        self.num_parameters = num_parameters
        self.norm_ratio = norm_ratio
        self._seed = config.seed
        self._cycle = 0
        self._preset = Nesterov(config)
        self.window = self._preset.window

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose this cycle's random direction, for the horizon of the preset."""
        self._cycle = facts.cycle
        proposal = self._preset.propose(facts, max_horizon)
        if proposal is None:
            return None
        return replace(proposal, predictor=self.name, coefficients={"own": 1.0}, arm=self.name)

    def own_direction(
        self, index: int, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, norm: float
    ) -> torch.Tensor:
        """Gaussian entries for one parameter, fixed by seed, cycle and index."""
        generator = np.random.default_rng([self._seed, self._cycle, index])
        # Drawn on the host in single precision, so that devices and storage formats share one direction.
        noise = torch.as_tensor(generator.standard_normal(tuple(parameter.shape), dtype=np.float32))
        noise *= self.norm_ratio * norm / self.num_parameters**0.5
        return noise.to(parameter.device, parameter.dtype)

    def state_dict(self) -> dict[str, Any]:
        """The cycle of the last proposal, which fixes its direction."""
        return {"cycle": self._cycle}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._cycle = int(state["cycle"])
