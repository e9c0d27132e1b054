"""Peak memory of a step before it runs, on fake tensors that have shapes and no bytes, and what fits a device.

torch's FakeTensorMode runs model, backward and optimizer without allocating; torch's MemTracker follows every
storage from birth to death and sorts it into parameters, gradients, optimizer state, activations and
temporaries. The fake tensors stand on the CPU, because autograd on fake CUDA tensors ends the process of a
torch without CUDA; for a CUDA device sizes are rounded up to 512 bytes as its allocator does, and the caller
makes its optimizer do what it would do there (foreach).

The first run of a step is not the peak: the optimizer's state appears in it. So the first phase is run twice.

To fit a device of a given size, what costs least is tried first: full precision before bf16 autocast before weights
in bf16 (which changes the arithmetic of the update), copies on the device before copies on the host, no accumulation
before some. Peak memory never falls as a batch grows, so the largest batch is found by halving; it is no straight line,
because the optimizer's own peak does not depend on the batch and hides the others below it.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools import mem_tracker as _mem_tracker  # no public name for it exists

from hpt.optimizers.inner import InnerOptimizer

CONTEXT_BYTES = 600 * 1024**2  # assumed, not measured: CUDA context and library workspaces
FRAGMENTATION_FRAC = 0.05  # assumed, not measured: reserved over allocated
PLACEMENTS = ("device", "host")
CUDA_BLOCK_BYTES = 512  # c10/cuda/CUDACachingAllocator: kMinBlockSize
LIMITS = (
    "not counted: CUDA context, cuBLAS and cuDNN workspaces, fragmentation (reserved above allocated), NCCL, graphs",
    "attention and autocast follow the CPU's rules: bf16 rows may be off by 15 % on a GPU, which keeps more in fp32",
    "the training step of a model whose code depends on values of tensors cannot be estimated",
)

_tracker = cast("Any", _mem_tracker)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training problem on fake tensors.

    Attributes:
        model: its parameters are followed.
        optimizer: the state of each is followed.
        others: tensors that exist besides (batches, copies kept on the device).
        phases: step functions by phase, in order; the first is run twice. One forward pass each.
    """

    model: torch.nn.Module
    optimizer: InnerOptimizer
    others: list[torch.Tensor]
    phases: Mapping[str, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class PhasePeak:
    """Peak of one phase: all bytes, and the bytes of each category at that moment."""

    peak_bytes: int
    categories: dict[str, int]


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


def estimate_peaks(prepare: Callable[[], Prepared], *, for_cuda: bool) -> dict[str, PhasePeak]:
    """Peak bytes of each phase, each on its own.

    Args:
        prepare: builds everything; called under fake tensors, so nothing is allocated.
        for_cuda: round sizes as the CUDA allocator does.
    """
    with _rounding(for_cuda), FakeTensorMode(allow_non_fake_inputs=True):
        prepared = prepare()
        first = next(iter(prepared.phases.values()))
        _peak_of(prepared, first)
        return {name: _peak_of(prepared, step) for name, step in prepared.phases.items()}


def as_fakes(model: torch.nn.Module) -> torch.nn.Module:
    """Put a fake CPU tensor in place of every meta parameter and buffer, ties kept; under FakeTensorMode.

    Building on the meta device and converting afterwards is the way: `Module.to` refuses fake tensors that are tied.
    """
    made: dict[int, Any] = {}
    for module in model.modules():
        for registry in (module._parameters, module._buffers):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            for name, one in registry.items():
                if one is not None:
                    registry[name] = made.setdefault(id(one), fake_like(one))
    return model


def fake_like(tensor: torch.Tensor) -> torch.Tensor:
    """A fake tensor on the CPU in the shape of a meta tensor; a parameter stays one."""
    empty = torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")
    return torch.nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else empty


def room_in(budget_bytes: float) -> float:
    """What of a device's memory tensors may fill, after the context and fragmentation."""
    return (budget_bytes - CONTEXT_BYTES) / (1.0 + FRAGMENTATION_FRAC)


def budget_for(peak_bytes: float) -> int:
    """Inverse of `room_in`: the smallest device for tensors of that size."""
    return math.ceil(peak_bytes * (1.0 + FRAGMENTATION_FRAC) + CONTEXT_BYTES)


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


def _peak_of(prepared: Prepared, step: Callable[[], None]) -> PhasePeak:
    tracker = _tracker.MemTracker()
    tracker.track_external(prepared.model, *prepared.optimizer.each, *prepared.others)
    with tracker:
        step()
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    categories = {str(getattr(key, "value", key)): int(count) for key, count in snapshot.items()}
    return PhasePeak(categories.pop("Total"), categories)


@contextmanager
def _rounding(for_cuda: bool) -> Generator[None]:  # noqa: FBT001 (private, one caller)
    """Inside, sizes of fake CPU storages are rounded up to CUDA's blocks."""
    info = _tracker._WeakRefInfo  # noqa: SLF001 (the only place where sizes are made)
    original = info._calculate_mem_consumed  # noqa: SLF001

    def rounded(self: Any) -> int:
        count = int(self.size * self.element_size)
        return -(-count // CUDA_BLOCK_BYTES) * CUDA_BLOCK_BYTES

    if for_cuda:
        info._calculate_mem_consumed = rounded  # noqa: SLF001
    try:
        yield
    finally:
        info._calculate_mem_consumed = original  # noqa: SLF001


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
    fitting = largest_batch(lambda size: peak_of(dtype, placement, size), room_bytes, wanted_batch)
    batch = next((size for size in range(fitting, 0, -1) if wanted_batch % size == 0), 0)
    return FittingPlan(
        dtype=dtype,
        placement=placement,
        batch_size=batch,
        accumulation_steps=wanted_batch // batch if batch else 0,
        peak_bytes=peak_of(dtype, placement, max(1, batch)),
        is_bound=is_bound,
        least_budget_bytes=budget_for(peak_of(dtype, placement, 1)),
    )
