"""What fits a device: the largest batch, the cheapest way of training, the smallest device.

To fit a device of a given size, what costs least is tried first: full precision before bf16 autocast before weights
in bf16 (which changes the arithmetic of the update), copies on the device before copies on the host, no accumulation
before some. Peak memory never falls as a batch grows, so the largest batch is found by halving; it is no straight line,
because the optimizer's own peak does not depend on the batch and hides the others below it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

CONTEXT_BYTES = 600 * 1024**2  # assumed, not measured: CUDA context and library workspaces
MARGIN_FRAC = 0.06
"""On a GPU: what tensors took above the estimate, at the worst of 33 measured configurations without cuDNN."""
CUDNN_MARGIN_FRAC = 0.35
"""The same with convolutions and recurrent layers, whose libraries keep more: 9 % and 29 % at the worst of seven."""
HOST_MARGIN_FRAC = 1.0
"""On the host: what malloc, as it comes, keeps of freed blocks. Measured: 9 to 89 % above the estimate."""
PLACEMENTS = ("device", "host")


@dataclass(frozen=True, slots=True)
class FittingPlan:
    """One way to train within a budget.

    Attributes:
        dtype: "fp32", "bf16" (autocast) or "bf16-weights".
        placement: of trajectory and snapshot, "device" or "host".
        batch_size: windows in a micro-batch, a divisor of the wanted batch; 0 when nothing fits.
        accumulation_steps: micro-batches in an update of the wanted batch, all of one size.
        peak_bytes: estimate for that micro-batch, or for one window when nothing fits.
        is_bound: nothing was estimated, because the weights and what goes with them are too much already.
        least_budget_bytes: the smallest device on which one window fits this way (at least, if `is_bound`).
    """

    dtype: str
    placement: str
    batch_size: int
    accumulation_steps: int
    peak_bytes: int
    is_bound: bool
    least_budget_bytes: int

    @property
    def fits(self) -> bool:
        """At least one window fits."""
        return self.batch_size > 0


def room_in(budget_bytes: float) -> float:
    """What of a GPU's memory the estimate of a model without cuDNN may be, after the context and the margin."""
    return (budget_bytes - CONTEXT_BYTES) / (1.0 + MARGIN_FRAC)


def budget_for(peak_bytes: float, margin_frac: float = MARGIN_FRAC, context_bytes: int = CONTEXT_BYTES) -> int:
    """Inverse of `room_in`: the smallest device for an estimate of that size; on the host there is no context."""
    return math.ceil(peak_bytes * (1.0 + margin_frac) + context_bytes)


def margin_of(model: torch.nn.Module, device: str) -> float:
    """By how much the memory taken may exceed the estimate, as a share of it, on "cuda" or "cpu"."""
    if device == "cpu":
        return HOST_MARGIN_FRAC
    in_cudnn = (torch.nn.RNNBase, torch.nn.modules.conv._ConvNd)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return CUDNN_MARGIN_FRAC if any(isinstance(one, in_cudnn) for one in model.modules()) else MARGIN_FRAC


def largest_batch(peak_of: Callable[[int], int], room_bytes: float, wanted: int) -> int:
    """Largest batch up to `wanted` whose peak is within `room_bytes`; 0 when not even one window fits."""
    if peak_of(1) > room_bytes:
        return 0
    if peak_of(wanted) <= room_bytes:
        return wanted
    fitting, too_large = 1, wanted
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        fitting, too_large = (middle, too_large) if peak_of(middle) <= room_bytes else (fitting, middle)
    return fitting


def least_budget(tried: Sequence[FittingPlan], peak_of: Callable[[str, str, int], int]) -> int:
    """The smallest device on which one window fits in one of the ways tried, where none fitted.

    What had only been bounded is estimated now, unless its bound is above what another way needs.
    """
    least: float = math.inf
    for plan in sorted(tried, key=lambda one: one.least_budget_bytes):
        if plan.least_budget_bytes < least:
            least = min(least, budget_for(peak_of(plan.dtype, plan.placement, 1)))
    return int(least)


def plan_for(
    dtypes: Sequence[str],
    peak_of: Callable[[str, str, int], int],
    static_of: Callable[[str, str], int],
    budget_bytes: float,
    wanted_batch: int,
) -> tuple[FittingPlan | None, list[FittingPlan]]:
    """The first plan that fits, and all that were tried.

    Args:
        dtypes: in order of preference.
        peak_of: peak bytes by dtype, placement and batch.
        static_of: bytes there whatever is done, by dtype and placement; above the room nothing is estimated.
        budget_bytes: of the device.
        wanted_batch: windows an update is to see.
    """
    tried: list[FittingPlan] = []
    room = room_in(budget_bytes)
    for dtype in dtypes:
        for placement in PLACEMENTS:
            tried.append(_plan(dtype, placement, peak_of, static_of(dtype, placement), room, wanted_batch))
            if tried[-1].fits:
                return tried[-1], tried
    return None, tried


def _plan(
    dtype: str,
    placement: str,
    peak_of: Callable[[str, str, int], int],
    static_bytes: int,
    room_bytes: float,
    wanted_batch: int,
) -> FittingPlan:
    is_bound = static_bytes > room_bytes
    if is_bound:
        return FittingPlan(dtype, placement, 0, 0, static_bytes, is_bound, budget_for(static_bytes))
    sizes = [size for size in range(1, wanted_batch + 1) if wanted_batch % size == 0]
    num_fitting = largest_batch(lambda place: peak_of(dtype, placement, sizes[place - 1]), room_bytes, len(sizes))
    batch = sizes[num_fitting - 1] if num_fitting else 0
    return FittingPlan(
        dtype=dtype,
        placement=placement,
        batch_size=batch,
        accumulation_steps=wanted_batch // batch if batch else 0,
        peak_bytes=peak_of(dtype, placement, max(1, batch)),
        is_bound=is_bound,
        least_budget_bytes=budget_for(peak_of(dtype, placement, 1)),
    )
