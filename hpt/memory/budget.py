"""Which batch, precision, accumulation and placement fit a device of a given size.

Peak memory grows by the same amount with every window of a batch, so two estimates give the line, and the
line gives the largest batch. What is tried, in this order, is what costs least: full precision before bf16
autocast before weights in bf16 (which changes the arithmetic of the update), copies on the device before copies
on the host, no accumulation before some.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CONTEXT_BYTES = 600 * 1024**2  # assumed, not measured: CUDA context and library workspaces
FRAGMENTATION_FRAC = 0.05  # assumed, not measured: reserved over allocated
PLACEMENTS = ("device", "host")


@dataclass(frozen=True, slots=True)
class Line:
    """Peak bytes of a batch of b windows: fixed + b x per_window."""

    fixed_bytes: float
    per_window_bytes: float

    @classmethod
    def through(cls, one: int, two: int) -> "Line":
        """From the peaks of batches of one and of two windows."""
        return cls(fixed_bytes=2.0 * one - two, per_window_bytes=float(two - one))

    def at(self, batch_size: int) -> int:
        """Peak bytes of a batch."""
        return round(self.fixed_bytes + batch_size * self.per_window_bytes)

    def largest(self, room_bytes: float) -> int:
        """Largest batch within `room_bytes`; 0 when not even one window fits."""
        if self.at(1) > room_bytes:
            return 0
        return int((room_bytes - self.fixed_bytes) // self.per_window_bytes) if self.per_window_bytes > 0 else 2**31


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to train within a budget.

    Attributes:
        dtype: "fp32", "bf16" (autocast) or "bf16-weights".
        placement: of trajectory and snapshot, "device" or "host".
        batch_size: windows in a micro-batch; 0 when nothing fits.
        accumulation_steps: micro-batches in an update of the wanted batch.
        peak_bytes: estimate for that micro-batch, or for one window when nothing fits.
        least_budget_bytes: the smallest device on which one window fits this way.
    """

    dtype: str
    placement: str
    batch_size: int
    accumulation_steps: int
    peak_bytes: int
    least_budget_bytes: int

    @property
    def fits(self) -> bool:
        """At least one window fits."""
        return self.batch_size > 0


def room_in(budget_bytes: float) -> float:
    """What of a device's memory tensors may fill, after the context and fragmentation."""
    return (budget_bytes - CONTEXT_BYTES) / (1.0 + FRAGMENTATION_FRAC)


def budget_for(peak_bytes: float) -> int:
    """Inverse of `room_in`: the smallest device for tensors of that size."""
    return math.ceil(peak_bytes * (1.0 + FRAGMENTATION_FRAC) + CONTEXT_BYTES)


def plan_for(
    dtypes: Sequence[str],
    line_of: Callable[[str, str], Line],
    budget_bytes: float,
    wanted_batch: int,
) -> tuple[Plan | None, list[Plan]]:
    """The first plan that fits, and all that were tried.

    Args:
        dtypes: in order of preference.
        line_of: peak memory by dtype and placement.
        budget_bytes: of the device.
        wanted_batch: windows an update is to see.
    """
    tried: list[Plan] = []
    for dtype in dtypes:
        for placement in PLACEMENTS:
            line = line_of(dtype, placement)
            largest = min(line.largest(room_in(budget_bytes)), wanted_batch)
            plan = Plan(
                dtype=dtype,
                placement=placement,
                batch_size=largest,
                accumulation_steps=math.ceil(wanted_batch / largest) if largest else 0,
                peak_bytes=line.at(max(1, largest)),
                least_budget_bytes=budget_for(line.at(1)),
            )
            tried.append(plan)
            if plan.fits:
                return plan, tried
    return None, tried
