"""CORRECT: the first full steps after a kept jump, held against the forecast made before it.

Verdict after C steps: roll back only when their mean loss leaves the forecast's upper band (a blow-up; a good jump
stands a little above the forecast at first) and the same batches do better without the jump, by more than it may cost:
else it is the data that changed. At the end of the cycle the jump is called good when the loss settled
inside the forecast's own one-sigma band.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from hpt.history import FloatArray
from hpt.jump.stats import JumpOutcome
from hpt.learned.loss_trend import LossForecast


@dataclass(frozen=True, slots=True)
class WatchedJump:
    """A kept jump under observation, and what the loss was expected to be without it.

    Attributes:
        step: net updates at the jump.
        arm: name of the choice that was played.
        horizon: full steps it stands for.
        norm_ratio, gain, loss_change: as in `JumpOutcome`.
        near, far: loss forecast C and K steps ahead, `far` corrected by residuals.
        uncorrected_mean: of the far forecast as it was before that.
        allowance: tolerated rise above the near forecast.
        features: state the forecasts were made in; None if the predictor sees none.
    """

    step: int
    arm: str
    horizon: int
    norm_ratio: float
    gain: float
    loss_change: float | None
    near: LossForecast
    far: LossForecast
    uncorrected_mean: float
    allowance: float
    features: tuple[float, ...] | None


class CorrectWatch:
    """Watches one kept jump at a time.

    Args:
        num_steps: full steps until the verdict (C).
        band_sigmas: half-width of the upper band in forecast scales.

    Attributes:
        jump: the one under observation.
        num_seen: full steps since it.
    """

    def __init__(self, num_steps: int, band_sigmas: float) -> None:
        self._num_steps = num_steps
        self._band_sigmas = band_sigmas
        self.jump: WatchedJump | None = None
        self.num_seen = 0

    @property
    def in_doubt(self) -> bool:
        """The verdict is still open, so the jump may yet be undone."""
        return self.jump is not None and self.num_seen < self._num_steps

    @property
    def expected(self) -> float | None:
        """Loss expected of the coming full step, by the forecast made before the jump."""
        return self.jump.near.mean if self.jump is not None and self.in_doubt else None

    def open(self, jump: WatchedJump) -> None:
        """Start watching a jump that was just kept."""
        self.jump, self.num_seen = jump, 0

    def count_step(self) -> bool:
        """A full step was made; True when the verdict falls with it."""
        if self.jump is None:
            return False
        self.num_seen += 1
        return self.num_seen == self._num_steps

    def excess(self, losses: FloatArray) -> float:
        """Mean of the C losses (C,) since the jump above the upper band, in loss units; positive means outside."""
        assert self.jump is not None, "no jump is being watched"
        near = self.jump.near
        return fmean(losses) - (near.mean + self.jump.allowance + self._band_sigmas * near.scale)

    def is_to_blame(self, now: float, before: float) -> bool:
        """Whether a batch's loss rose by more, over that without the jump, than a jump may cost."""
        assert self.jump is not None, "no jump is being watched"
        return math.isfinite(before) and not now - before <= self.jump.allowance

    def rise(self, losses: FloatArray) -> float:
        """Mean of the first C of the losses (n,) since the jump above the forecast's mean, in loss units."""
        assert self.jump is not None, "no jump is being watched"
        return fmean(losses[: self._num_steps]) - self.jump.near.mean

    def close(self, losses: FloatArray, *, rolled_back: bool) -> JumpOutcome | None:
        """Stop watching and say what became of the jump; None if there was none or it saw no step.

        Args:
            losses: (n,) of all full steps since the jump.
            rolled_back: it was undone.
        """
        jump, self.jump, self.num_seen = self.jump, None, 0
        if jump is None or not len(losses):
            return None
        return JumpOutcome(
            step=jump.step,
            arm=jump.arm,
            kept=not rolled_back,
            rolled_back=rolled_back,
            norm_ratio=jump.norm_ratio,
            gain=jump.gain,
            loss_change=jump.loss_change,
            good=not rolled_back and settled(losses) <= jump.far.mean + jump.far.scale,
        )

    def state_dict(self) -> dict[str, Any]:
        """The jump under observation, and how long it has been."""
        return {"jump": None if self.jump is None else asdict(self.jump), "num_seen": self.num_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.num_seen = int(state["num_seen"])
        self.jump = None if state["jump"] is None else _watched(state["jump"])


def settled(losses: FloatArray) -> float:
    """Where the losses (n,) since a jump settled: mean of their later half."""
    return fmean(losses[len(losses) // 2 :])


def _watched(state: Mapping[str, Any]) -> WatchedJump:
    features = state["features"]
    values: dict[str, Any] = {
        **state,
        "near": LossForecast(**state["near"]),
        "far": LossForecast(**state["far"]),
        "features": None if features is None else tuple(features),
    }
    return WatchedJump(**values)
