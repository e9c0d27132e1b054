"""The most memory in use between two moments: the allocator's own peak on CUDA, the resident set's on the host.

On the host the kernel's high-water mark is reset where that is permitted, which misses nothing. Elsewhere a
thread samples the resident set, which may miss a short peak; `method` says which it was. Linux tells the mark as
VmHWM in /proc/self/status; writing 5 to /proc/self/clear_refs lowers it to the present (proc(5)).
"""

import resource
import sys
import threading
from pathlib import Path

import torch

from hpt.memory.probe import is_gpu, resident_bytes

SAMPLE_S = 0.002
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
KILOBYTE = 1024  # Linux counts the largest resident set in kilobytes, macOS in bytes


class PeakMeter:
    """Measures the peak from `start` to `stop`, again and again.

    Attributes:
        method: "torch.cuda.max_memory_allocated", "VmHWM, reset" or "resident set, sampled".
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if is_gpu(device):
            self.method = "torch.cuda.max_memory_allocated"
        elif reset_high_water() and high_water_bytes() is not None:
            self.method = "VmHWM, reset"
        else:
            self.method = "resident set, sampled"
        self._sampler: _Sampler | None = None
        self._earlier_bytes: int | None = None

    def start(self) -> None:
        """From here on."""
        self._earlier_bytes = None
        self._mark()

    def split(self) -> int | None:
        """Peak since the last `start` or `split`, bytes; the next one counts from here."""
        peak = self._read()
        if peak is not None:
            self._earlier_bytes = max(peak, self._earlier_bytes or 0)
        self._mark()
        return peak

    def stop(self) -> int | None:
        """Peak since `start`, bytes; None where the reading failed."""
        known = [one for one in (self._read(), self._earlier_bytes) if one is not None]
        return max(known) if known else None

    def _mark(self) -> None:
        if is_gpu(self._device):
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self.method == "VmHWM, reset":
            reset_high_water()
        else:
            self._sampler = _Sampler()
            self._sampler.start()

    def _read(self) -> int | None:
        if is_gpu(self._device):
            torch.cuda.synchronize(self._device)
            return torch.cuda.max_memory_allocated(self._device)
        if self._sampler is None:
            return high_water_bytes()
        sampler, self._sampler = self._sampler, None
        return sampler.finish()


def high_water_bytes(status: Path = STATUS) -> int | None:
    """High-water mark of the resident set since it was reset, or since the process began; None where unknown."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(marks[0]) * 1024 if marks else None


def reset_high_water(clear_refs: Path = CLEAR_REFS) -> bool:
    """Lower the high-water mark to the present resident set; False where that is not permitted."""
    try:
        clear_refs.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_host_bytes() -> int:
    """Largest resident set of this process so far, everything imported included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KILOBYTE


def peak_device_bytes(device: torch.device) -> int | None:
    """Largest sum of tensors on a CUDA device since the process began; None on other devices."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


class _Sampler(threading.Thread):
    """Looks at the resident set every SAMPLE_S until it is told to finish."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._done = threading.Event()
        self._peak = resident_bytes()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self._peak = max(self._peak, resident_bytes())

    def finish(self) -> int:
        self._done.set()
        self.join()
        return max(self._peak, resident_bytes())
