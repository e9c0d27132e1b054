"""What every predictor can do, and what it hands over: a weight delta, never weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath
from hpt.records import DecisionRecord

MEASURED_FRAC = 0.5  # of the settling time, its end, over which a fork's value is measured

__all__ = ["BasePredictor", "ForkOutcome", "ForkRequest", "LossForecast", "MeasuredValue", "Predictor", "Proposal"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposed jump.

    Attributes:
        predictor: who proposed it.
        delta: the change of all trained weights.
        horizon: full steps the jump stands for, nominally (gain - pull_back) K, at least 1.
        arm: policy, or another name under which it is recorded.
        confidence: calibrated probability of positive value; None if the predictor has no opinion.
    """

    predictor: str
    delta: WeightDelta
    horizon: int
    arm: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """A wish to measure what policies are worth: the run is to go on without jumps and with each of them.

    Attributes:
        policies: names of `hpt.jump.policy`, at least one.
        num_jumps: cycles with a jump, in each branch that jumps.
        settle_steps: full steps after them without one.
    """

    policies: tuple[str, ...]
    num_jumps: int
    settle_steps: int

    def num_steps(self, cycle_steps: int) -> int:
        """Full steps in each branch, in cycles of `cycle_steps`."""
        return self.num_jumps * cycle_steps + self.settle_steps

    def work(self, cycle_steps: int) -> int:
        """Full steps of the branches that do not go on."""
        return len(self.policies) * self.num_steps(cycle_steps)


@dataclass(frozen=True, slots=True)
class MeasuredValue:
    """What a policy was worth in a fork.

    Attributes:
        gains: loss that its branch saved at each step, paired with the branch without jumps; empty if it broke down.
        num_jumps: jumps made in it.
        settle_steps: steps at its end without one.
    """

    gains: tuple[float, ...]
    num_jumps: int
    settle_steps: int

    @property
    def is_broken(self) -> bool:
        """An update was refused or a loss was not finite."""
        return not self.gains or not all(map(math.isfinite, self.gains))

    @property
    def value(self) -> float:
        """Loss saved a jump, once the transient is over; -inf for a branch that broke down."""
        return -math.inf if self.is_broken else fmean(self._settled) / self.num_jumps

    @property
    def value_se(self) -> float:
        """Its standard error, from the scatter of paired differences; 0 for a branch that broke down."""
        settled = self._settled
        return 0.0 if self.is_broken else stdev(settled) / math.sqrt(len(settled)) / self.num_jumps

    @property
    def _settled(self) -> tuple[float, ...]:
        return self.gains[-max(2, round(MEASURED_FRAC * self.settle_steps)) :]


@dataclass(frozen=True, slots=True)
class ForkOutcome:
    """What a fork measured.

    Attributes:
        step: net updates at the fork.
        stats: of the cycle that ended there.
        values: by policy.
    """

    step: int
    stats: CycleStats
    values: Mapping[str, MeasuredValue]


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

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | ForkRequest | None:
        """Propose a jump standing for at most `max_horizon` steps, a fork, or None for no jump."""
        ...

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        """The weight delta of a policy that was named in a `ForkRequest`, at the end of a cycle of its branch."""
        ...

    def settle(self, outcome: ForkOutcome) -> str:
        """Learn what a fork measured; the policy whose branch goes on, `hpt.jump.policy.NONE` for the one without."""
        ...

    def decision(self) -> DecisionRecord | None:
        """The newest decision about what is played; None if there is nothing to decide."""
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

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | ForkRequest | None:
        """No jump."""
        del stats, trend, max_horizon
        return None

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        """A delta of nothing."""
        del policy, stats
        return WeightDelta(0.0, 0.0, self.scale)

    def settle(self, outcome: ForkOutcome) -> str:
        """The branch without jumps."""
        del outcome
        return NONE

    def decision(self) -> DecisionRecord | None:
        """Nothing is decided."""
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
