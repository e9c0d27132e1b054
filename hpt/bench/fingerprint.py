"""What a benchmark ran on, and whether two runs may be compared: same machine and settings, or no comparison.

Hard facts decide that: processor, cores, memory, operating system, threads, preset, affinity. A different version of
Python, torch, numpy or the kernel is what a comparison may be about; it is only mentioned.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpt.bench.measurement import Metadata
from hpt.bench.plan import MODES, Settings
from hpt.machine import describe_machine, package_version

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_GIB = 2**30
HARD = ("cpu_model", "num_cores", "memory_gib", "system", "threads", "preset", "affinity")
SOFT = ("python", "torch", "numpy", "platform", "governor", "mode")


def machine_record(settings: Settings) -> dict[str, Any]:
    """Facts about machine, versions, code and settings; None where a fact cannot be read."""
    machine = describe_machine(device="cpu", threads=settings.threads)
    return {
        **machine,
        "pyperf": package_version("pyperf"),
        "system": f"{os.uname().sysname} {os.uname().machine}",
        "memory_gib": round(machine["memory_bytes"] / _GIB),
        "governor": _governor(),
        "load_1min": round(os.getloadavg()[0], 2),
        "malloc": {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")} or None,
    }


def facts_inside(machine: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The facts that every pyperf file carries, so that it can be compared without its folder."""
    names = ("cpu_model", "num_cores", "memory_gib", "system", "python", "torch", "numpy", "platform", "governor")
    wanted = {name: machine[name] for name in (*names, "commit", "is_dirty")}
    return {**wanted, **settings.to_document()}


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def differences(old: Metadata, new: Metadata, names: tuple[str, ...]) -> list[str]:
    """In words, the facts among `names` in which two measurements differ."""
    pairs = ((name, old.get(f"hpt_{name}"), new.get(f"hpt_{name}")) for name in names)
    return [f"{name} {_word(before)} -> {_word(after)}" for name, before, after in pairs if before != after]


def _word(value: object) -> str:
    return "unset" if value is None else str(value)


def describe_mode(settings: Settings) -> str:
    """One line for the head of the table."""
    mode = MODES[settings.mode]
    pinned = "" if settings.affinity is None else f", pinned to {settings.affinity}"
    threads = f"{settings.threads} thread{'s' * (settings.threads != 1)}"
    sampling = f"{mode.processes} processes x {mode.values} values"
    return f"preset {settings.preset.value}, {settings.mode} ({sampling}), {threads}{pinned}"
