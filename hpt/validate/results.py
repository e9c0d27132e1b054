"""What the processes of a validation sent back, with the questions the checks ask of it.

Growth of memory is the slope of a line through like steps, by ordinary least squares. Its interval is widened for the
first-order autocorrelation r of the residuals, by counting n (1 - r) / (1 + r) independent steps (Santer et al.,
J. Geophys. Res. 105, 2000), and by Student's t.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

from hpt.validate.plan import FULL_STEPS

DONE, FAILED = "done", "failed"
MIN_STEPS = 8
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """One arm, drill or estimate: how it ended and what it said.

    Attributes:
        name: of the arm, drill or estimate.
        status: DONE or FAILED.
        exit_code: of its process; negative for a signal.
        message: why it failed.
        start: facts before the first step, of an arm.
        steps: a dictionary a call, of an arm.
        end: the job's account.
        ranks: of an arm that several processes ran together, what each of them said; start, steps and end are then the
            first one's.
    """

    name: str
    status: str
    exit_code: int
    message: str = ""
    start: Mapping[str, Any] = field(default_factory=dict[str, Any])
    steps: Sequence[Mapping[str, Any]] = ()
    end: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ranks: "Sequence[ValidationResult]" = ()

    @property
    def is_done(self) -> bool:
        """It ran to its end."""
        return self.status == DONE

    @property
    def by_rank(self) -> "Sequence[ValidationResult]":
        """Each process's own; one that ran alone is its own first."""
        return self.ranks or (self,)


def peak_bytes(arm: ValidationResult) -> int | None:
    """The highest peak of all calls above the baseline before the model existed; None if any was not read."""
    peaks = [step["peak_bytes"] for step in arm.steps]
    baseline = arm.start.get("baseline_bytes")
    if not peaks or baseline is None or None in peaks:
        return None
    return max(peaks) - baseline


def peaks_by_phase(arm: ValidationResult) -> dict[str, int]:
    """Highest peak of each phase above the baseline."""
    baseline = arm.start.get("baseline_bytes")
    found: dict[str, int] = {}
    for step in arm.steps:
        if baseline is not None and step["peak_bytes"] is not None:
            found[step["phase"]] = max(found.get(step["phase"], 0), step["peak_bytes"] - baseline)
    return found


def in_use(step: Mapping[str, Any]) -> int | None:
    """Memory in use after a call: the allocator's on CUDA, else the process's."""
    return step["allocated_bytes"] if step["allocated_bytes"] is not None else step["process_bytes"]


def step_s(arm: ValidationResult) -> float | None:
    """Median seconds of a call after the first, in FULL."""
    times = sorted(step["wall_s"] for step in arm.steps[1:] if step["phase"] == "FULL")
    return times[len(times) // 2] if times else None


@dataclass(frozen=True, slots=True)
class GrowthSlope:
    """Bytes per step: the estimate, and both ends of its 95 % interval."""

    per_step: float
    low: float
    high: float
    num_steps: int


def growth(arm: ValidationResult) -> GrowthSlope | None:
    """Growth after warm-up over like steps: FULL ones from the third cycle on, when everything was allocated once."""
    like = [step for step in arm.steps if step["phase"] == "FULL" and step["step"] > 2 * FULL_STEPS]
    known = [(float(step["call"]), float(use)) for step in like if (use := in_use(step)) is not None]
    return slope_of([call for call, _ in known], [use for _, use in known]) if len(known) == len(like) else None


def slope_of(steps: Sequence[float], values: Sequence[float]) -> GrowthSlope | None:
    """GrowthSlope of values over steps; None with fewer than MIN_STEPS of them."""
    count = len(steps)
    if count < MIN_STEPS:
        return None
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    square = float(residuals @ residuals)
    if square == 0.0:
        return GrowthSlope(slope, slope, slope, count)
    r = max(0.0, float(residuals[1:] @ residuals[:-1]) / square)
    freedom = max(3.0, count * (1.0 - r) / (1.0 + r)) - 2.0
    error = math.sqrt(square / freedom / float(centred @ centred))
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2.0)) * error
    return GrowthSlope(slope, slope - half, slope + half, count)
