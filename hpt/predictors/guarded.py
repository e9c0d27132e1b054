"""A predictor that cannot take the run down: when it raises, it is retired and training goes on as ordinary steps."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpt.history import StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.loss_trend import LossForecast, LossTrend, TrendPath
from hpt.predictors.protocol import BasePredictor, ForkOutcome, ForkRequest, Predictor, Proposal
from hpt.records import DecisionRecord

T = TypeVar("T")


class GuardedPredictor:
    """Passes calls on until one raises; from then on there are no proposals.

    Args:
        inner: the predictor.
        on_failure: told once, with one line about what was raised.
    """

    def __init__(self, inner: Predictor, on_failure: Callable[[str], None]) -> None:
        self.name, self.scale, self.window, self.far = inner.name, inner.scale, inner.window, inner.far
        self.inner = inner
        self._on_failure = on_failure
        self.failed = False

    def _call(self, method: Callable[[], T], instead: T) -> T:
        """The method's answer; `instead` if it raises."""
        try:
            return method()
        except Exception as error:  # noqa: BLE001 (any failure of a plug-in has the same remedy)
            self.retire()
            self._on_failure(f"predictor {self.name} raised {type(error).__name__}: {error}")
            return instead

    def retire(self) -> None:
        """From now on there are no proposals."""
        self.failed = True
        self.inner = BasePredictor()

    def observe(self, steps: StepStats, path: TrendPath) -> None:
        """See `Predictor`."""
        self._call(lambda: self.inner.observe(steps, path), None)

    def end_cycle(self, stats: CycleStats, trend: LossTrend) -> None:
        """See `Predictor`."""
        self._call(lambda: self.inner.end_cycle(stats, trend), None)

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | ForkRequest | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.propose(stats, trend, max_horizon), None)

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        """See `Predictor`."""
        return self._call(lambda: self.inner.policy_delta(policy, stats), WeightDelta(0.0, 0.0, self.scale))

    def settle(self, outcome: ForkOutcome) -> str:
        """See `Predictor`."""
        return self._call(lambda: self.inner.settle(outcome), NONE)

    def decision(self) -> DecisionRecord | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.decision(), None)  # noqa: PLW0108 (after a failure another answers)

    def judge(self, outcome: JumpOutcome) -> None:
        """See `Predictor`."""
        self._call(lambda: self.inner.judge(outcome), None)

    def forecast(self, trend: LossTrend, num_steps: int) -> LossForecast | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.forecast(trend, num_steps), None)

    def features(self) -> NDArray[np.float32] | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.features(), None)  # noqa: PLW0108 (after a failure another answers)

    def summary(self) -> Mapping[str, Any]:
        """See `Predictor`."""
        account = self._call(lambda: self.inner.summary(), {})  # noqa: PLW0108 (as in `features`)
        return {"failed": True} if self.failed else account

    def state_dict(self) -> dict[str, Any]:
        """See `Predictor`."""
        return {"failed": self.failed, "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Predictor`."""
        self.failed = bool(state["failed"])
        if self.failed:
            self.inner = BasePredictor()
        self.inner.load_state_dict(state["inner"])
