"""What a run ran on: versions, processor, threads and the commit of the code, as plain values for its record.

Nothing here imports torch: its version is read from the installed metadata, and the caller says how many
threads it uses. What cannot be told on this machine is None.
"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from hpt.version import __version__

CPU_FACTS = Path("/proc/cpuinfo")
GIT_TIMEOUT_S = 10.0
DIGEST_LETTERS = 16


def describe_machine(*, device: str, threads: int) -> dict[str, Any]:
    """Facts about the interpreter, the machine and the code; `device` and `threads` as the run uses them."""
    commit, is_dirty = code_version()
    return {
        "hpt": __version__,
        "python": platform.python_version(),
        "torch": package_version("torch"),
        "numpy": package_version("numpy"),
        "platform": platform.platform(),
        "cpu_model": cpu_model(),
        "num_cores": psutil.cpu_count(logical=True),
        "num_usable_cores": usable_cores(),
        "threads": threads,
        "memory_bytes": psutil.virtual_memory().total,
        "device": device,
        "commit": commit,
        "is_dirty": is_dirty,
        "sources": source_digests(),
    }


@cache
def source_digests(package: Path = Path(__file__).parent) -> dict[str, str]:
    """Fingerprint of the code by top-level member: `{"trainer": "9f...", "config.py": "02..."}`, and of data files.

    A measurement that stores it can be told from one of other sources, member by member and without git. Each is the
    head of a SHA-256 over the names and bytes of the member's Python files; a JSON file has its own, by its path.
    """
    members = {
        member.name: sorted(member.rglob("*.py")) if member.is_dir() else [member] * (member.suffix == ".py")
        for member in sorted(package.iterdir())
    }
    data = {file.relative_to(package).as_posix(): [file] for file in sorted(package.rglob("*.json"))}
    return {name: _digest_of(package, files) for name, files in (members | data).items() if files}


def _digest_of(package: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:DIGEST_LETTERS]


def has_gpu() -> bool:
    """Whether the NVIDIA driver knows a GPU; asked of NVML, without torch."""
    try:
        pynvml = import_module("pynvml")
    except ImportError:  # the trainer does without nvidia-ml-py
        return False
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount()) > 0
    except pynvml.NVMLError:
        return False


def utc_now() -> str:
    """The present moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_version(name: str) -> str | None:
    """Version of an installed distribution, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def usable_cores() -> int | None:
    """Cores this process may run on; fewer than the machine has where an affinity is set."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def cpus_of(text: str) -> set[int]:
    """Processors that a list names, as in "0,2-3".

    Raises:
        ValueError: it is no such list.
    """
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return {cpu for part in ends for cpu in range(part[0], part[-1] + 1)}


def cpu_model() -> str | None:
    """Name of the processor: Linux tells it in /proc/cpuinfo, other systems through `platform`."""
    try:
        lines = CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def code_version(source: Path = Path(__file__)) -> tuple[str | None, bool | None]:
    """Commit of the code that runs and whether its tree was changed; None where the code is not in git.

    A package installed into an environment inside some other repository is not that repository's code, so
    the file itself must be tracked.
    """
    folder = source.resolve().parent
    if _git(folder, "ls-files", "--error-unmatch", source.name) is None:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    return commit, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]  # leaves the index alone
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
