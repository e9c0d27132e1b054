"""What every predictor can do, and what it hands over: a weight delta, never weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath

__all__ = ["BasePredictor", "LossForecast", "Predictor", "Proposal"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed jump.

    Attributes:
        predictor: who proposed it.
        delta: the change of all trained weights.
        horizon: full steps the jump stands for, nominally (gain - pull_back) K, at least 1.
        arm: name under which its value is learned.
        confidence: calibrated probability of positive value without a rollback; None if the predictor has no opinion.
        value: expected loss saved; None if never measured in this run.
        value_lower: its lower bound.
    """

    predictor: str
    delta: WeightDelta
    horizon: int
    arm: str
    confidence: float | None = None
    value: float | None = None
    value_lower: float | None = None


class Predictor(Protocol):
    """One way of proposing jumps. All methods are deterministic given the calls made before.

    Attributes:
        name: in records and scores.
        scale: decay of the one trend its jumps follow (0.8 where it does not care).
        window: first and last progress at which jumps are wanted.
        far: full steps ahead at which it scores loss forecasts; None: it does not forecast.
    """

    name: str
    scale: float
    window: tuple[float, float]
    far: int | None

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """Take note of the full steps of a cycle, or of part of one, after they stand.

        `path` is the constant forecaster's view of the same steps.
        """
        ...

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """Take note of a finished cycle; called for every cycle, WARMUP included, before `propose`."""
        ...

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """Propose a jump standing for at most `max_horizon` steps, or None for no jump."""
        ...

    def judge(self, outcome: JumpOutcome) -> None:
        """Learn what became of a proposal."""
        ...

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast | None:
        """Loss expected `num_steps` full steps ahead; None if this predictor does not forecast."""
        ...

    def features(self) -> NDArray[np.float32] | None:
        """State of the run as this predictor sees it, (64,); None if it looks at none."""
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


class BasePredictor:
    """A predictor that observes nothing and never proposes: the plain loop, and the base of the simple ones."""

    name = "none"
    scale: float = 0.8
    window: tuple[float, float] = (0.10, 0.90)
    far: int | None = None

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """Ignore the steps."""
        del steps, path

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """Ignore the cycle."""
        del stats, trend

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """No jump."""
        del stats, trend, max_horizon
        return None

    def judge(self, outcome: JumpOutcome) -> None:
        """Ignore the outcome."""
        del outcome

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast | None:
        """No opinion."""
        del trend, num_steps
        return None

    def features(self) -> NDArray[np.float32] | None:
        """None."""
        return None

    def summary(self) -> Mapping[str, Any]:
        """Nothing to report."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """No state."""
        del state
