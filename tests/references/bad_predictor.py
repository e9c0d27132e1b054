"""Predictors that misbehave on purpose."""

from collections.abc import Callable

import torch

from hpt.dynamics.facts import CycleFacts, StepFacts
from hpt.predictors.protocol import Proposal, Silent


class Overshoot(Silent):
    """Proposes `factor` times the last displacement: far too much when the factor is large."""

    name = "overshoot"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal:
        """Always a jump."""
        return Proposal(self.name, {"d": self.factor}, min(10, max_horizon), "overshoot")


class Raising(Silent):
    """Raises in the method named."""

    name = "raising"

    def __init__(self, method: str) -> None:
        self.method = method

    def observe(self, facts: StepFacts) -> None:
        """Raise if this is the method."""
        if self.method == "observe" and facts.step > 15:
            raise ValueError("no more steps, please")

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Raise if this is the method, else propose a short jump."""
        if self.method == "propose":
            raise ZeroDivisionError("nothing to propose")
        return Proposal(self.name, {"own" if self.method == "own_direction" else "d": 0.1}, 1, "raising")

    def own_direction(
        self, index: int, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, norm: float
    ) -> torch.Tensor:
        """Raise half-way through the parameters."""
        if index >= 2:
            raise RuntimeError("lost my direction")
        return torch.ones_like(parameter)


def failing_on(call: Callable[[int], bool], error: Exception) -> Callable[[int], None]:
    """A counter that raises `error` on the calls that `call` picks."""
    seen = {"calls": 0}

    def check(_: int = 0) -> None:
        seen["calls"] += 1
        if call(seen["calls"]):
            raise error

    return check
