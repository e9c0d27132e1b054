"""Host memory of this process: resident set and its peak, what malloc holds, and how much there may be.

Linux tells the resident set in /proc/self/statm and its high-water mark as VmHWM; writing 5 to
/proc/self/clear_refs lowers the mark to the present, so that a peak belongs to one step (proc(5)). The heap
is glibc's (mallinfo2, malloc_trim); under another C library those readings are None and nothing is freed.
In a container the limit is the control group's, not the machine's.
"""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
CGROUPS = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")
LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")  # version 2, version 1
_UNLIMITED = 1 << 60  # version 1 writes a number near 2^63 for "no limit"


@dataclass(frozen=True, slots=True)
class HeapReading:
    """What malloc has from the system: bytes in use, and all bytes held, the ones in use included."""

    allocated_bytes: int
    reserved_bytes: int

    @property
    def idle_bytes(self) -> int:
        """Held and not in use."""
        return self.reserved_bytes - self.allocated_bytes


def resident_bytes() -> int:
    """Resident set of this process."""
    return int(_process(os.getpid()).memory_info().rss)


@cache
def _process(pid: int) -> Any:
    """One psutil object a process; keyed by its number, so that a forked child gets its own."""
    return psutil.Process(pid)


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


def peak_bytes(status: Path = STATUS) -> int | None:
    """High-water mark of the resident set since it was reset, or since the process began; None where unknown."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(marks[0]) * 1024 if marks else None


def reset_peak(clear_refs: Path = CLEAR_REFS) -> bool:
    """Lower the high-water mark to the present resident set; False where that is not permitted."""
    try:
        clear_refs.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


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
