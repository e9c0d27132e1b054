"""What is usual in the recent past of a run: level and spread of the loss, size of the gradient.

Robust throughout, so that one outlier does not move what counts as usual: medians, and the spread around a
resistant line.
"""

import math
from dataclasses import dataclass

import numpy as np

from hpt.numerics.robust import (
    FloatArray,
    median,
    resistant_line,
    swing_growth,
    turning_point_score,
)

RECENT_STEPS = 16
OSCILLATION_STEPS = 32
GROWTH_RATIO = 1.5  # mean swing of the later half over the earlier, for an oscillation to count
FLOOR_FRAC = 0.01  # least spread, as a share of the loss: a noiseless loss still moves by this much
SCALE_GROWTH = 1.1  # most by which the spread grows from one full window to the next: a rise would hide in it
BROKEN_SIGMAS = 4.0  # paired, so the noise of a batch is not in it
BROKEN_FRAC = 0.5
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class LossStatistics:
    """Statistics of the loss and gradient norm as of step `made_at`.

    Attributes:
        made_at: steps seen when they were made.
        level: median of the last `RECENT_STEPS` losses, or of the whole window where that is lower: a fall is
            followed, a rise is not.
        scale: robust spread of the loss around its trend, at least `FLOOR_FRAC` of the level.
        grad_norm: running median, None before enough were seen.
        oscillation: standard score of the turning points where the swings grow and matter, else 0.
    """

    made_at: int
    level: float
    scale: float
    grad_norm: float | None
    oscillation: float

    def loss_score(self, loss: float) -> float:
        """Rise of a loss above the usual level, in units of the usual spread."""
        return (loss - self.level) / self.scale

    def broken_rise(self, loss: float) -> float:
        """By how much other weights must do better on a batch of this loss for the present ones to count as broken.

        Far above the usual spread, and most of what the batch is above the usual level: on a hard batch every weight
        has a high loss, and small differences of the weights make large ones of the loss.
        """
        return max(BROKEN_SIGMAS * self.scale, BROKEN_FRAC * (loss - self.level))


def summarize(
    losses: FloatArray,
    grad_norms: FloatArray | None,
    step: int,
    previous: LossStatistics | None,
    *,
    is_full: bool,
) -> LossStatistics:
    """Statistics from windows in order of time.

    Args:
        losses: at least 3 finite losses.
        grad_norms: finite norms, None if too few were seen.
        step: steps seen so far.
        previous: the statistics these replace.
        is_full: the window of losses has its full length, so its spread may grow only slowly from now on.
    """
    level = min(median(losses[-RECENT_STEPS:]), median(losses))
    floor = FLOOR_FRAC * abs(level) + _TINY
    limit = previous.scale * SCALE_GROWTH if is_full and previous is not None else math.inf
    return LossStatistics(
        made_at=step,
        level=level,
        scale=max(min(resistant_line(losses).spread, limit), floor),
        grad_norm=None if grad_norms is None else median(grad_norms),
        oscillation=_oscillation(losses[-OSCILLATION_STEPS:], floor),
    )


def _oscillation(losses: FloatArray, floor: float) -> float:
    """Score of the turning points, 0 where the swings do not grow or all lie within `floor`."""
    score = turning_point_score(losses)
    if score <= 0.0 or swing_growth(losses) < GROWTH_RATIO:
        return 0.0
    return score if float(np.ptp(losses)) > floor else 0.0
