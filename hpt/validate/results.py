"""What the processes of a validation sent back, as plain values with the questions the checks ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpt.validate.growth import Slope, slope_of
from hpt.validate.plan import FULL_STEPS

DONE, FAILED = "done", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job: how it ended and what it said.

    Attributes:
        name: of the arm, drill or estimate.
        status: DONE or FAILED.
        exit_code: of its process; negative for a signal.
        message: last words on stderr of a failed one.
        start: facts before the first step, of an arm.
        steps: a dictionary a call, of an arm.
        end: the job's account.
    """

    name: str
    status: str
    exit_code: int
    message: str = ""
    start: Mapping[str, Any] = field(default_factory=dict[str, Any])
    steps: Sequence[Mapping[str, Any]] = ()
    end: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_done(self) -> bool:
        """It ran to its end."""
        return self.status == DONE


def peak_bytes(arm: Outcome) -> int | None:
    """The highest peak of all calls above the baseline before the model existed; None if any was not read."""
    peaks = [step["peak_bytes"] for step in arm.steps]
    baseline = arm.start.get("baseline_bytes")
    if not peaks or baseline is None or None in peaks:
        return None
    return max(peaks) - baseline


def peaks_by_phase(arm: Outcome) -> dict[str, int]:
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


def growth(arm: Outcome) -> Slope | None:
    """Growth after warm-up over like steps: FULL ones from the third cycle on, when everything was allocated once."""
    like = [step for step in arm.steps if step["phase"] == "FULL" and step["step"] > 2 * FULL_STEPS]
    known = [(float(step["call"]), float(use)) for step in like if (use := in_use(step)) is not None]
    return slope_of([call for call, _ in known], [use for _, use in known]) if len(known) == len(like) else None


def step_s(arm: Outcome) -> float | None:
    """Median seconds of a call after the first, in FULL."""
    times = sorted(step["wall_s"] for step in arm.steps[1:] if step["phase"] == "FULL")
    return times[len(times) // 2] if times else None
