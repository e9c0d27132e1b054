"""The most memory in use between two moments: the allocator's own peak on CUDA, the resident set's on the host.

On the host the kernel's high-water mark is reset where that is permitted, which misses nothing. Elsewhere a
thread samples the resident set, which may miss a short peak; `method` says which it was.
"""

import threading

import torch

from hpt.memory.host import peak_bytes, reset_peak, resident_bytes
from hpt.memory.probe import is_gpu

SAMPLE_S = 0.002


class PeakMeter:
    """Measures the peak from `start` to `stop`, again and again.

    Attributes:
        method: "torch.cuda.max_memory_allocated", "VmHWM, reset" or "resident set, sampled".
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if is_gpu(device):
            self.method = "torch.cuda.max_memory_allocated"
        elif reset_peak() and peak_bytes() is not None:
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
            reset_peak()
        else:
            self._sampler = _Sampler()
            self._sampler.start()

    def _read(self) -> int | None:
        if is_gpu(self._device):
            torch.cuda.synchronize(self._device)
            return torch.cuda.max_memory_allocated(self._device)
        if self._sampler is None:
            return peak_bytes()
        sampler, self._sampler = self._sampler, None
        return sampler.finish()


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
