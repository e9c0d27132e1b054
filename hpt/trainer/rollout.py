"""The other mode of PREDICT: H calls of delta/H each, a forward pass on every batch, micro-corrections on the way.

After call t the weights are theta_0 + s_t x delta, where s_t grows by 1/H a call. Every `correction_interval` calls the
observed loss is held against the forecast made before the jump: above it, what is left of the delta is halved, because
the direction has begun to cost; the roll-out ends at once when the loss leaves the bound that also guards a jump.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

SHRINK = 0.5


@dataclass(slots=True)
class Rollout:
    """Progress of one roll-out.

    Attributes:
        horizon: calls planned.
        expected: loss forecast before the jump, per batch.
        bound: largest tolerated loss.
        calls: calls made.
        share: part of the delta applied so far (s_t).
        stride: part added by the next call.
        losses: loss of each call.
    """

    horizon: int
    expected: float
    bound: float
    calls: int
    share: float
    stride: float
    losses: list[float]

    @classmethod
    def begin(cls, horizon: int, expected: float, bound: float) -> "Rollout":
        """A roll-out of `horizon` calls, nothing applied yet."""
        return cls(horizon, expected, bound, calls=0, share=0.0, stride=1.0 / horizon, losses=[])

    @property
    def done(self) -> bool:
        """All planned calls were made."""
        return self.calls >= self.horizon

    def advance(self) -> float:
        """The share of the delta to stand at in this call."""
        self.calls += 1
        self.share += self.stride
        return self.share

    def observe(self, loss: float, correction_interval: int) -> str:
        """Take note of this call's loss; returns why the roll-out must be undone, or ""."""
        self.losses.append(loss)
        if not math.isfinite(loss):
            return "loss is not finite in the roll-out"
        recent = self.losses[-max(1, correction_interval) :]
        if fmean(recent) > self.bound:
            return f"loss {fmean(recent):.4g} in the roll-out is above the bound {self.bound:.4g}"
        if correction_interval and self.calls % correction_interval == 0 and fmean(recent) > self.expected:
            self.stride *= SHRINK
        return ""

    def state_dict(self) -> dict[str, Any]:
        """All fields."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Rollout":
        """Inverse of `state_dict`."""
        return cls(**dict(state))
