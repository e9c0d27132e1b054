"""Peak memory of a step before it runs: the step is carried out on fake tensors that have shapes and no bytes.

torch's FakeTensorMode runs model, backward and optimizer without allocating; torch's MemTracker follows every
storage from birth to death and sorts it into parameters, gradients, optimizer state, activations and
temporaries. The fake tensors stand on the CPU, because autograd on fake CUDA tensors ends the process of a
torch without CUDA; for a CUDA device sizes are rounded up to 512 bytes as its allocator does, and the caller
makes its optimizer do what it would do there (foreach).

The first run of a step is not the peak: the optimizer's state appears in it. So the first phase is run twice.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools import mem_tracker as _mem_tracker  # no public name for it exists

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
        optimizer: its state is followed.
        others: tensors that exist besides (batches, copies kept on the device).
        phases: step functions by phase, in order; the first is run twice. One forward pass each.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    others: list[torch.Tensor]
    phases: Mapping[str, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class PhasePeak:
    """Peak of one phase: all bytes, and the bytes of each category at that moment."""

    peak_bytes: int
    categories: dict[str, int]


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


def _peak_of(prepared: Prepared, step: Callable[[], None]) -> PhasePeak:
    tracker = _tracker.MemTracker()
    tracker.track_external(prepared.model, prepared.optimizer, *prepared.others)
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
