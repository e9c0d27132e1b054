"""Layer 2: memory that an allocator holds and nobody uses goes back to the system, when there is enough of it.

On CUDA the allocator is torch's (reserved less allocated; `empty_cache`), on the host glibc's malloc (`malloc_trim`).
Freeing costs page faults or cudaMalloc calls afterwards, so it is done every N updates at most, and only when the idle
part is large both in bytes and as a share, and has grown since the last clean-up: what that could not free (fragments)
is not tried again.
"""

import gc
from dataclasses import dataclass

import torch

from hpt.config import MemoryConfig
from hpt.memory.host import read_heap, resident_bytes, trim_heap
from hpt.memory.probe import is_gpu


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

    def after_update(self, num_updates: int) -> CleanUp | None:
        """Clean up if it is the turn of this update and there is something to free."""
        interval = self._config.cleanup_interval
        if interval == 0 or num_updates % interval:
            return None
        idle_bytes, reserved_bytes = self._idle()
        worthwhile = max(self._config.cleanup_min_bytes, int(0.25 * reserved_bytes))
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
