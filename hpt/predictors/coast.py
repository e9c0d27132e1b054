"""Coasting: the optimizer's own update direction, continued n steps with its moments held still.

The prediction of SpecTrain and XGrad (arXiv:2305.18240), which take the gradient at the predicted
weights; here the weights go there for good. Per step

    Adam family      -lr m^ / (sqrt(v^) + eps)       m^ and v^ with Adam's bias corrections
    SGD, RMSprop     -lr momentum_buffer

Weight decay is left out: it pulls towards zero and is no part of the direction learned from gradients.
Ten steps of it hurt a small GPT (measured), since the last gradients' noise dominates both moments.
"""

from collections.abc import Mapping
from typing import Any

import torch

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts
from hpt.predictors.extrapolation import DEFAULT_WINDOW, capped_proposal, window_of
from hpt.predictors.protocol import Proposal, Silent


class Coast(Silent):
    """Jumps `num_steps` steps along the optimizer's frozen update.

    An optimizer whose state it cannot read gets zeros, and after the first such jump no more proposals.

    Args:
        config: settings.
        num_steps: n.

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "coast"

    def __init__(self, config: HybridConfig, num_steps: int = 10) -> None:
        self.num_steps = num_steps
        self.window = window_of(config, DEFAULT_WINDOW)
        self._was_asked = False
        self._found_state = False

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose to coast, unless the optimizer turned out to have no usable state."""
        if self._was_asked and not self._found_state:
            return None
        return capped_proposal(self.name, {"own": 1.0}, self.num_steps, max_horizon)

    @torch.no_grad()
    def own_direction(
        self, index: int, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, norm: float
    ) -> torch.Tensor:
        """Movement of one parameter over n steps of frozen moments, zeros where there are none."""
        update = frozen_update(parameter, optimizer)
        self._was_asked = True
        self._found_state |= update is not None
        return torch.zeros_like(parameter) if update is None else update.mul_(self.num_steps)

    def summary(self) -> Mapping[str, Any]:
        """Whether the optimizer's state could be read; None before the first jump."""
        return {"found_optimizer_state": self._found_state if self._was_asked else None}

    def state_dict(self) -> dict[str, Any]:
        """What was found out about the optimizer."""
        return {"was_asked": self._was_asked, "found_state": self._found_state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._was_asked, self._found_state = bool(state["was_asked"]), bool(state["found_state"])


def frozen_update(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
    """What one more step with the moments held still would add to the parameter; None if unreadable."""
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    group = next(one for one in optimizer.param_groups if any(parameter is other for other in one["params"]))
    if {"exp_avg", "exp_avg_sq", "step"} <= state.keys() and {"betas", "eps"} <= group.keys():
        return _adam_update(state, group)
    # Others (Muon) keep a buffer of this name too, but transform it before use.
    plain = isinstance(optimizer, (torch.optim.SGD, torch.optim.RMSprop))
    if plain and isinstance(state.get("momentum_buffer"), torch.Tensor):
        return state["momentum_buffer"] * -float(group["lr"])
    return None


def _adam_update(state: Mapping[str, Any], group: Mapping[str, Any]) -> torch.Tensor:
    beta1, beta2 = (float(beta) for beta in group["betas"])
    step = float(state["step"])
    spread = (state["exp_avg_sq"] / (1.0 - beta2**step)).sqrt_().add_(float(group["eps"]))
    return state["exp_avg"].div(spread).mul_(-float(group["lr"]) / (1.0 - beta1**step))
