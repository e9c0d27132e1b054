"""CORRECT: the first full steps after a kept jump, held against the forecast made before it.

Verdict after C steps: roll back only when their mean loss leaves the forecast's upper band (a blow-up; a good jump
stands a little above the forecast at first). At the end of the cycle the jump is called good when the loss settled
inside the forecast's own one-sigma band.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from hpt.learned.facts import JumpOutcome, gain_of
from hpt.predictors.protocol import LossForecast
from hpt.trainer.predict_step import Jump


@dataclass(frozen=True, slots=True)
class Watched:
    """A kept jump under observation: what it was, and what the loss was expected to be.

    `raw_far_mean` is the far forecast before residuals corrected it, `features` the state it was made in.
    """

    step: int
    arm: str
    horizon: int
    norm_ratio: float
    gain: float
    loss_change: float | None
    near_mean: float
    near_scale: float
    far_mean: float
    far_scale: float
    allowance: float
    raw_far_mean: float
    features: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Expected:
    """No-jump forecasts made before a jump: C steps ahead, K steps ahead, the latter also without residuals."""

    near: LossForecast
    far: LossForecast
    raw_far_mean: float
    features: tuple[float, ...] | None


class CorrectStep:
    """Watches one kept jump at a time.

    Args:
        num_steps: full steps until the verdict (C).
        band_sigmas: half-width of the upper band in forecast scales.
    """

    def __init__(self, num_steps: int, band_sigmas: float) -> None:
        self._num_steps = num_steps
        self._band_sigmas = band_sigmas
        self._watched: Watched | None = None
        self._losses: list[float] = []

    @property
    def watched(self) -> Watched | None:
        """The jump under observation."""
        return self._watched

    @property
    def num_seen(self) -> int:
        """Full steps since the jump."""
        return len(self._losses)

    @property
    def in_doubt(self) -> bool:
        """The verdict is still open, so the jump may yet be undone."""
        return self._watched is not None and len(self._losses) < self._num_steps

    @property
    def just_decided(self) -> bool:
        """The verdict fell with the last full step, in the jump's favour."""
        return self._watched is not None and len(self._losses) == self._num_steps

    @property
    def expected(self) -> float | None:
        """Loss expected of the coming full step, by the forecast made before the jump."""
        return self._watched.near_mean if self._watched is not None and self.in_doubt else None

    def open(self, step: int, jump: Jump, expected: Expected, allowance: float) -> None:
        """Start watching a jump that was just kept, against what was expected without it."""
        near, far = expected.near, expected.far
        change = None if jump.loss_before is None else jump.loss_after - jump.loss_before
        self._watched = Watched(
            step=step,
            arm=jump.proposal.arm,
            horizon=jump.proposal.horizon,
            norm_ratio=jump.norm_ratio,
            gain=gain_of(jump.coefficients),
            loss_change=change,
            near_mean=near.mean,
            near_scale=near.scale,
            far_mean=far.mean,
            far_scale=far.scale,
            allowance=allowance,
            raw_far_mean=expected.raw_far_mean,
            features=expected.features,
        )
        self._losses = []

    def must_roll_back(self, loss: float) -> bool:
        """Take note of one full step; True when the verdict falls now and goes against the jump."""
        if self._watched is None:
            return False
        self._losses.append(loss)
        return len(self._losses) == self._num_steps and self.excess() > 0.0

    def excess(self) -> float:
        """Mean loss since the jump above the upper band, in loss units; positive means outside."""
        watched = self._watched
        assert watched is not None, "no jump is being watched"
        upper = watched.near_mean + watched.allowance + self._band_sigmas * watched.near_scale
        return fmean(self._losses) - upper

    def rise(self) -> float:
        """Mean loss since the jump above the forecast's mean, in loss units."""
        assert self._watched is not None, "no jump is being watched"
        return fmean(self._losses[: self._num_steps]) - self._watched.near_mean

    def settled(self) -> float | None:
        """Mean loss over the later half of what was seen; None if nothing was."""
        return fmean(self._losses[len(self._losses) // 2 :]) if self._losses else None

    def close(self, *, rolled_back: bool) -> JumpOutcome | None:
        """Stop watching and say what became of the jump; None if there was none or it saw no step."""
        watched, settled = self._watched, self.settled()
        self._watched, self._losses = None, []
        if watched is None or settled is None:
            return None
        return JumpOutcome(
            step=watched.step,
            arm=watched.arm,
            kept=not rolled_back,
            rolled_back=rolled_back,
            norm_ratio=watched.norm_ratio,
            gain=watched.gain,
            loss_change=watched.loss_change,
            good=not rolled_back and settled <= watched.far_mean + watched.far_scale,
        )

    def state_dict(self) -> dict[str, Any]:
        """The jump under observation and the losses since."""
        return {
            "watched": None if self._watched is None else asdict(self._watched),
            "losses": list(self._losses),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        watched = state["watched"]
        self._watched = None if watched is None else _restored(watched)
        self._losses = [float(loss) for loss in state["losses"]]


def _restored(state: Mapping[str, Any]) -> Watched:
    features = state["features"]
    values: dict[str, Any] = {**state, "features": None if features is None else tuple(features)}
    return Watched(**values)
