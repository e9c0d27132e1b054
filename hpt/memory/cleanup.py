"""Layer 2: memory that an allocator holds and nobody uses goes back to the system, when there is enough of it.

On CUDA the allocator is torch's (reserved less allocated; `empty_cache`), on the host glibc's malloc (`malloc_trim`).
Freeing costs page faults or cudaMalloc calls afterwards, so it is done every N updates at most, and only when the idle
part is large both in bytes and as a share, and has grown since the last clean-up: what that could not free (fragments)
is not tried again. Under another C library than glibc the heap is unknown and nothing of it is freed.
"""

import ctypes
import gc
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from hpt.config import MemoryConfig
from hpt.memory.probe import is_gpu, resident_bytes

MIN_IDLE_FRAC = 0.25  # of what the allocator holds: below it the page faults afterwards cost more than the memory


@dataclass(frozen=True, slots=True)
class HeapReading:
    """What malloc has from the system: bytes in use, and all bytes held, the ones in use included."""

    allocated_bytes: int
    reserved_bytes: int

    @property
    def idle_bytes(self) -> int:
        """Held and not in use."""
        return self.reserved_bytes - self.allocated_bytes


@dataclass(frozen=True, slots=True)
class CleanUp:
    """One clean-up: bytes that were idle before, and bytes that left the process."""

    idle_bytes: int
    freed_bytes: int


class Cleaner:
    """Decides when to clean up, and does it.

    Args:
        config: interval and thresholds.
        device: whose allocator.
    """

    def __init__(self, config: MemoryConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._left_bytes = 0
        self.num_cleanups = 0
        self.freed_bytes = 0

    def is_due(self, num_updates: int) -> bool:
        """It is the turn of this update."""
        interval = self._config.cleanup_interval
        return interval > 0 and num_updates % interval == 0

    def after_update(self, num_updates: int) -> CleanUp | None:
        """Clean up if it is the turn of this update and there is something to free."""
        if not self.is_due(num_updates):
            return None
        idle_bytes, reserved_bytes = self._idle()
        worthwhile = max(self._config.cleanup_min_bytes, int(MIN_IDLE_FRAC * reserved_bytes))
        if idle_bytes - self._left_bytes < worthwhile:
            self._left_bytes = min(self._left_bytes, idle_bytes)
            return None
        freed_bytes = free_idle(self._device)
        self._left_bytes = self._idle()[0]
        self.num_cleanups += 1
        self.freed_bytes += freed_bytes
        return CleanUp(idle_bytes, freed_bytes)

    def _idle(self) -> tuple[int, int]:
        """Bytes held and not in use, and all bytes held."""
        if is_gpu(self._device):
            reserved_bytes = torch.cuda.memory_reserved(self._device)
            return reserved_bytes - torch.cuda.memory_allocated(self._device), reserved_bytes
        heap = read_heap()
        return (0, 0) if heap is None else (heap.idle_bytes, heap.reserved_bytes)


def free_idle(device: torch.device, *, collect: bool = False) -> int:
    """Give idle memory back; returns the bytes by which the allocator's or the process's memory shrank.

    Args:
        device: whose allocator.
        collect: break reference cycles first, which may hold tensors (a traceback's frames, say).
    """
    if collect:
        gc.collect()
    if is_gpu(device):
        before = torch.cuda.memory_reserved(device)
        torch.cuda.empty_cache()
        return before - torch.cuda.memory_reserved(device)
    before = resident_bytes()
    trim_heap()
    return max(0, before - resident_bytes())


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


@cache
def _libc() -> Any:
    """The C library of this process; None on systems without one that loads like this."""
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Mallinfo2
        library.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return library


def read_heap() -> HeapReading | None:
    """State of malloc over all its arenas; None where the C library does not tell."""
    library = _libc()
    if library is None:
        return None
    info = library.mallinfo2()
    return HeapReading(info.uordblks + info.hblkhd, info.arena + info.hblkhd)


def trim_heap() -> bool:
    """Give idle pages of malloc back to the system; False where that is not possible."""
    library = _libc()
    if library is None:
        return False
    library.malloc_trim(0)
    return True
