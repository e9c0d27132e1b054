"""What every predictor can do, and what it hands over: coefficients on directions, never weights.

A jump is a sum of coefficient x direction. Directions by name:
    "d"       displacement of the cycle that just ended
    "E0.8"    bias-corrected EMA of displacements over cycles with decay 0.8 (any decay in `Predictor.scales`)
    "O0.8"    the same, each matrix by its orthogonal factor at equal norm; other parameters as in "E0.8"
    "d0" "d1" past displacements, newest first, when `Predictor.num_past` > 0
    "own"     a direction the predictor makes itself, parameter by parameter (`Predictor.own_direction`)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts


@dataclass(frozen=True, slots=True)
class LossForecast:
    """Loss expected some steps ahead, in the loss's own unit: mean and standard deviation of one batch's loss."""

    mean: float
    scale: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed jump.

    Attributes:
        predictor: who proposed it.
        coefficients: factor on each named direction.
        horizon: full steps the jump stands for, nominally (g - a) K, at least 1.
        arm: name under which its value is learned, "none" for no jump.
        confidence: calibrated probability of positive value without a rollback; None if the predictor has no opinion.
        value: expected loss saved; None if never measured in this run.
        value_lower: its lower bound.
        group_factors: factor per parameter group on top of the coefficients; empty means 1 everywhere.
    """

    predictor: str
    coefficients: dict[str, float]
    horizon: int
    arm: str
    confidence: float | None = None
    value: float | None = None
    value_lower: float | None = None
    group_factors: tuple[float, ...] = field(default=())


class Predictor(Protocol):
    """One way of proposing jumps. All methods are deterministic given the calls made before."""

    name: str
    scales: tuple[float, ...]
    num_past: int

    def observe(self, facts: StepFacts) -> None:
        """Take note of one full step."""
        ...

    def end_cycle(self, facts: CycleFacts) -> None:
        """Take note of a finished cycle; called for every cycle, WARMUP included, before `propose`."""
        ...

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose a jump standing for at most `max_horizon` steps, or None for no jump."""
        ...

    def judge(self, outcome: JumpOutcome) -> None:
        """Learn what became of a proposal."""
        ...

    def forecast(self, num_steps: int) -> LossForecast | None:
        """Loss expected `num_steps` full steps ahead; None if this predictor does not forecast."""
        ...

    def features(self) -> NDArray[np.float32] | None:
        """State of the run as this predictor sees it, (64,); None if it looks at none."""
        ...

    def own_direction(
        self, index: int, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, norm: float
    ) -> torch.Tensor:
        """Direction "own" for one parameter (same shape); `norm` is |d| over all parameters.

        `index` counts the trained parameters; implementations must not depend on call order.
        """
        ...

    def summary(self) -> Mapping[str, Any]:
        """Plain numbers for run.json."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit: tensors, numpy arrays and plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        ...


class Silent:
    """A predictor that observes nothing and never proposes; base of the simple ones."""

    name = "none"
    scales: tuple[float, ...] = ()
    num_past = 0

    def observe(self, facts: StepFacts) -> None:
        """Ignore the step."""
        del facts

    def end_cycle(self, facts: CycleFacts) -> None:
        """Ignore the cycle."""
        del facts

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """No jump."""
        del facts, max_horizon
        return None

    def judge(self, outcome: JumpOutcome) -> None:
        """Ignore the outcome."""
        del outcome

    def forecast(self, num_steps: int) -> LossForecast | None:
        """No opinion."""
        del num_steps
        return None

    def features(self) -> NDArray[np.float32] | None:
        """None."""
        return None

    def own_direction(
        self, index: int, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, norm: float
    ) -> torch.Tensor:
        """No direction of its own."""
        raise AssertionError(f"{self.name} has no direction of its own (parameter {index}, |d| {norm})")

    def summary(self) -> Mapping[str, Any]:
        """Nothing to report."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """No state."""
        del state
