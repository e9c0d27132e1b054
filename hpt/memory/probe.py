"""Memory in use at this moment, each number from whoever knows it, None where nobody does.

Allocated and reserved bytes come from torch's CUDA allocator; bytes of this process and of the whole device
from NVML, which sees the CUDA context and other tenants too: four numbers, never one under four names. NVML
counts devices in physical order and CUDA in visible order, so they are matched by UUID. A slice of a GPU
(MIG) is asked by its own UUID; where NVML knows only the whole GPU, the driver's numbers are the slice's. On
a machine without a GPU the process is the host's (resident set, by psutil) and the rest is unknown. In a container
the host's limit is that of the control group, not the machine's. No process is started and nothing is changed.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import psutil
import torch

try:
    import pynvml  # pyright: ignore[reportMissingTypeStubs]
except ImportError:  # jumps in a loop of the user's own do without nvidia-ml-py
    pynvml = None

_nvml: Any = pynvml
NVMLError: type[Exception] = Exception if pynvml is None else pynvml.NVMLError
_UUID_KINDS = ("GPU", "MIG")
CGROUPS = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")
LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")  # version 2, version 1
_UNLIMITED = 1 << 60  # version 1 writes a number near 2^63 for "no limit"


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


def is_gpu(device: torch.device | str) -> bool:
    """The device is a CUDA one and torch can use it."""
    return torch.device(device).type == "cuda" and torch.cuda.is_available()


def read_memory(device: torch.device | str) -> MemoryReading:
    """Read what is known of a device's memory now; kernels still queued are not waited for."""
    device = torch.device(device)
    if not is_gpu(device):
        return MemoryReading(None, None, resident_bytes(), None)
    handle = _nvml_handle(_uuid_of(device))
    return MemoryReading(
        allocated_bytes=torch.cuda.memory_allocated(device),
        reserved_bytes=torch.cuda.memory_reserved(device),
        process_bytes=_process_bytes(handle),
        device_bytes=_device_bytes(handle, device),
    )


def limit_bytes(device: torch.device | str) -> int:
    """All the memory there is: of the GPU or its slice, or what the host lets this process have."""
    device = torch.device(device)
    return torch.cuda.mem_get_info(device)[1] if is_gpu(device) else host_limit_bytes()


def used_bytes(device: torch.device | str) -> int:
    """What counts against `limit_bytes`: on a GPU everybody's memory less what our allocator could reuse.

    On the host it is this process's resident set.
    """
    device = torch.device(device)
    if not is_gpu(device):
        return resident_bytes()
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    idle_bytes = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return total_bytes - free_bytes - idle_bytes


def resident_bytes() -> int:
    """Resident set of this process."""
    return int(_process(os.getpid()).memory_info().rss)


def used_host_bytes() -> int:
    """Bytes of the whole machine that are not available to anybody."""
    memory = psutil.virtual_memory()
    return int(memory.total - memory.available)


def host_limit_bytes(cgroups: Path = CGROUPS, root: Path = CGROUP_ROOT) -> int:
    """What this process may use at most: the machine's memory, or less in a container."""
    limits = [int(psutil.virtual_memory().total)]
    for folder in _cgroup_folders(cgroups, root):
        limits += [limit for name in LIMIT_FILES if (limit := _limit_in(folder / name)) is not None]
    return min(limits)


def describe_sources(device: torch.device | str) -> list[str]:
    """Where the numbers come from, and why those that are missing are: one sentence each, for a report."""
    device = torch.device(device)
    if not is_gpu(device):
        return [
            "host memory is measured: the resident set of this process, by psutil",
            "GPU memory is not measured: " + _why_no_gpu(),
        ]
    said = ["allocated and reserved bytes are torch's CUDA allocator's"]
    handle = _nvml_handle(_uuid_of(device))
    if handle is None:
        return [*said, "NVML does not know this GPU: process bytes are null, device bytes are the CUDA driver's"]
    if _is_cut_into_slices(handle):
        said.append("the GPU is cut into slices (MIG): device bytes are the CUDA driver's, of this slice")
    if _process_bytes(handle) is None:
        said.append("NVML does not list this process (a container, or a driver that keeps it back): process bytes null")
    return said


def _why_no_gpu() -> str:
    """What is missing: a torch with CUDA, the driver, or a device."""
    if not torch.backends.cuda.is_built():
        return "this torch is built without CUDA"
    if pynvml is None:
        return "nvidia-ml-py is not installed"
    try:
        _nvml.nvmlInit()
    except NVMLError as error:
        return f"no NVIDIA driver was found ({error})"
    return "torch sees no CUDA device"


def _process_bytes(handle: Any) -> int | None:
    """Bytes of this process on the GPU; None in a container whose process numbers NVML does not know."""
    if handle is None:
        return None
    try:
        processes: list[Any] = _nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except NVMLError:
        return None
    own: list[int | None] = [one.usedGpuMemory for one in processes if one.pid == os.getpid()]
    return own[0] if own else None


def _device_bytes(handle: Any, device: torch.device) -> int:
    """Bytes in use on the GPU by anybody, from NVML or else from the CUDA driver."""
    if handle is not None and not _is_cut_into_slices(handle):
        try:
            return int(_nvml.nvmlDeviceGetMemoryInfo(handle).used)
        except NVMLError:
            pass  # the driver knows its part
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    return total_bytes - free_bytes


def _is_cut_into_slices(handle: Any) -> bool:
    """The handle is a whole GPU in MIG mode, whose memory is not ours to report; a slice itself answers no."""
    try:
        return bool(_nvml.nvmlDeviceGetMigMode(handle)[0])
    except NVMLError:
        return False  # this GPU, or this kind of handle, knows no slices


def _uuid_of(device: torch.device) -> str:
    return str(cast("Any", torch.cuda).get_device_properties(device).uuid)


@cache
def _nvml_handle(uuid: str) -> Any:
    """NVML's name for a GPU or a slice of one; None without the library, the driver or that GPU in it."""
    if pynvml is None:
        return None
    for kind in _UUID_KINDS:
        try:
            _nvml.nvmlInit()
            return _nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}".encode())
        except NVMLError:
            continue
    return None


@cache
def _process(pid: int) -> Any:
    """One psutil object a process; keyed by its number, so that a forked child gets its own."""
    return psutil.Process(pid)


def _cgroup_folders(cgroups: Path, root: Path) -> list[Path]:
    """This process's control groups with all their parents, since each may set a limit."""
    try:
        lines = cgroups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = [root, root / "memory"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        place = base / path.lstrip("/")
        folders += [place, *(parent for parent in place.parents if parent.is_relative_to(base))]
    return folders


def _limit_in(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None
