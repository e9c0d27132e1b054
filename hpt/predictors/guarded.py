"""A predictor that cannot take the run down: when it raises, it is retired and training goes on as ordinary steps.

Full steps are handed on in batches, at the latest before anything else is asked of the predictor: between two training
steps its code and data have left the caches, and taking in one step then costs three to five times what it costs in a
row (measured on byte-gpt). Facts are plain numbers, so being told later changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts
from hpt.predictors.protocol import LossForecast, Predictor, Proposal, Silent

T = TypeVar("T")

_MOST_WAITING = 32
"""Full steps handed on at once; more would make one call noticeably longer than the others."""


class GuardedPredictor:
    """Passes calls on until one raises; from then on there are no proposals.

    Args:
        inner: the predictor.
        on_failure: told once, with one line about what was raised.
    """

    def __init__(self, inner: Predictor, on_failure: Callable[[str], None]) -> None:
        self.name = inner.name
        self.scales = inner.scales
        self.num_past = inner.num_past
        self.inner = inner
        self._on_failure = on_failure
        self.failed = False
        self._waiting: list[StepFacts] = []

    def _call(self, method: Callable[[], T], instead: T) -> T:
        """The method's answer, after all steps so far were handed on; `instead` if any of that raises."""
        try:
            self._hand_on()
            return method()
        except Exception as error:  # noqa: BLE001 (any failure of a plug-in has the same remedy)
            self.failed = True
            self.inner = Silent()
            self._on_failure(f"predictor {self.name} raised {type(error).__name__}: {error}")
            return instead

    def _hand_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for facts in waiting:
            self.inner.observe(facts)

    def observe(self, facts: StepFacts) -> None:
        """See `Predictor`; the step may be handed on later."""
        self._waiting.append(facts)
        if len(self._waiting) >= _MOST_WAITING:
            self.catch_up()

    def catch_up(self) -> None:
        """Hand on every step so far."""
        self._call(lambda: None, None)

    def end_cycle(self, facts: CycleFacts) -> None:
        """See `Predictor`."""
        self._call(lambda: self.inner.end_cycle(facts), None)

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.propose(facts, max_horizon), None)

    def judge(self, outcome: JumpOutcome) -> None:
        """See `Predictor`."""
        self._call(lambda: self.inner.judge(outcome), None)

    def forecast(self, num_steps: int) -> LossForecast | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.forecast(num_steps), None)

    def features(self) -> NDArray[np.float32] | None:
        """See `Predictor`."""
        return self._call(lambda: self.inner.features(), None)  # noqa: PLW0108 (after a failure another answers)

    def own_direction(
        self, index: int, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, norm: float
    ) -> torch.Tensor:
        """See `Predictor`; a failure here comes back as no movement."""
        return self._call(
            lambda: self.inner.own_direction(index, parameter, optimizer, norm), torch.zeros_like(parameter)
        )

    def summary(self) -> Mapping[str, Any]:
        """See `Predictor`."""
        account = self._call(lambda: self.inner.summary(), {})  # noqa: PLW0108 (as in `features`)
        return {"failed": True} if self.failed else account

    def state_dict(self) -> dict[str, Any]:
        """See `Predictor`."""
        self.catch_up()
        return {"failed": self.failed, "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Predictor`."""
        self._waiting = []
        self.failed = bool(state["failed"])
        if self.failed:
            self.inner = Silent()
        self.inner.load_state_dict(state["inner"])
