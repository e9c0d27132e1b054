"""Memory in use at this moment, each number from whoever knows it, None where nobody does.

Allocated and reserved bytes come from torch's CUDA allocator; bytes of this process and of the whole device
from NVML, which sees the CUDA context and other tenants too: four numbers, never one under four names. NVML
counts devices in physical order and CUDA in visible order, so they are matched by UUID. On a machine without
a GPU the process is the host's (resident set) and the rest is unknown. Nothing is started or changed.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import psutil
import pynvml  # pyright: ignore[reportMissingTypeStubs]
import torch

_nvml = cast("Any", pynvml)


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Bytes in use; None where this machine cannot tell.

    Attributes:
        allocated_bytes: in tensors, by torch's CUDA allocator.
        reserved_bytes: held by that allocator, the allocated ones included.
        process_bytes: of this process, on the GPU where there is one, else resident on the host.
        device_bytes: of all processes on the GPU.
    """

    allocated_bytes: int | None
    reserved_bytes: int | None
    process_bytes: int | None
    device_bytes: int | None


def read_memory(device: torch.device | str) -> MemoryReading:
    """Read what is known of a device's memory now; kernels still queued are not waited for."""
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        return MemoryReading(None, None, psutil.Process().memory_info().rss, None)
    handle = _nvml_handle(_uuid_of(device))
    return MemoryReading(
        allocated_bytes=torch.cuda.memory_allocated(device),
        reserved_bytes=torch.cuda.memory_reserved(device),
        process_bytes=_process_bytes(handle),
        device_bytes=_device_bytes(handle, device),
    )


def _process_bytes(handle: Any) -> int | None:
    """Bytes of this process on the GPU; None in a container whose process numbers NVML does not know."""
    if handle is None:
        return None
    try:
        processes: list[Any] = _nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return None
    own: list[int | None] = [one.usedGpuMemory for one in processes if one.pid == os.getpid()]
    return own[0] if own else None


def _device_bytes(handle: Any, device: torch.device) -> int:
    """Bytes in use on the GPU by anybody, from NVML or else from the CUDA driver."""
    if handle is not None:
        try:
            return int(_nvml.nvmlDeviceGetMemoryInfo(handle).used)
        except pynvml.NVMLError:
            pass  # a slice of a GPU may refuse; the driver knows its part
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    return total_bytes - free_bytes


def _uuid_of(device: torch.device) -> str:
    return f"GPU-{cast('Any', torch.cuda).get_device_properties(device).uuid}"


@cache
def _nvml_handle(uuid: str) -> Any:
    """NVML's name for a GPU; None without the library, the driver or that GPU in it."""
    try:
        _nvml.nvmlInit()
        return _nvml.nvmlDeviceGetHandleByUUID(uuid.encode())
    except pynvml.NVMLError:
        return None
