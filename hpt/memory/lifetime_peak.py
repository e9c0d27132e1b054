"""The most memory a process ever held, from the operating system and torch's CUDA allocator; None where unknown."""

import resource
import sys

import torch

KILOBYTE = 1024  # Linux counts the largest resident set in kilobytes, macOS in bytes


def peak_host_bytes() -> int:
    """Largest resident set of this process so far, everything imported included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KILOBYTE


def peak_device_bytes(device: torch.device) -> int | None:
    """Largest sum of tensors on a CUDA device since the process began; None on other devices."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
