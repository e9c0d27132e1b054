"""Under which circumstances: how much is measured, with which settings, on what, and what may be compared.

Budgets on two cores, sixteen scenarios one after the other: `fast` two minutes, `default` five. `rigorous` is what the
original states of itself: at least 100 values, and three seconds of warm-up, here in each of six processes; it takes a
quarter of an hour. pyperf's own --fast and --rigorous overwrite the number of processes, so every number is passed
explicitly.

Two runs may be compared if the hard facts agree: processor, cores, memory, operating system, threads, preset, affinity.
A different version of Python, torch, numpy or the kernel is what a comparison may be about; it is only mentioned.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpt.bench.scenario import Preset
from hpt.machine import describe_machine, package_version

HARD = ("cpu_model", "num_cores", "memory_gib", "system", "threads", "preset", "affinity")
SOFT = ("python", "torch", "numpy", "platform", "governor", "mode")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Settings of pyperf.

    Attributes:
        processes: worker processes that yield values; one more calibrates the loops.
        values: of each process.
        warmups: values of each process that are recorded apart.
        min_time_s: least time of a value; the loops are doubled until it is reached.
    """

    processes: int
    values: int
    warmups: int
    min_time_s: float


MODES: Mapping[str, Mode] = {
    "fast": Mode(processes=3, values=3, warmups=1, min_time_s=0.02),
    "default": Mode(processes=6, values=5, warmups=1, min_time_s=0.05),
    "rigorous": Mode(processes=6, values=17, warmups=62, min_time_s=0.05),  # 62 x 0.05 s: three seconds and a tenth
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What a benchmark run was asked for; runs of other settings are not put into the same folder.

    Attributes:
        mode: key of `MODES`.
        preset: sizes of the model.
        threads: of torch and the linear algebra libraries.
        affinity: processors the workers may run on, as in "0,2-3"; None leaves it to the system.
    """

    mode: str = "default"
    preset: Preset = Preset.DEFAULT
    threads: int = 1
    affinity: str | None = None

    def to_document(self) -> dict[str, str | int | None]:
        """Plain values for JSON."""
        return asdict(self) | {"preset": self.preset.value}


def machine_record(settings: BenchSettings) -> dict[str, Any]:
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


def facts_inside(machine: Mapping[str, Any], settings: BenchSettings) -> dict[str, Any]:
    """The facts that every pyperf file carries, so that it can be compared without its folder."""
    names = ("cpu_model", "num_cores", "memory_gib", "system", "python", "torch", "numpy", "platform", "governor")
    wanted = {name: machine[name] for name in (*names, "commit", "is_dirty")}
    return {**wanted, **settings.to_document()}


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def differences(old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """In words, the facts among `names` in which two measurements differ."""
    pairs = ((name, old.get(f"hpt_{name}"), new.get(f"hpt_{name}")) for name in names)
    return [f"{name} {_word(before)} -> {_word(after)}" for name, before, after in pairs if before != after]


def _word(value: object) -> str:
    return "unset" if value is None else str(value)


def describe_mode(settings: BenchSettings) -> str:
    """One line for the head of the table."""
    mode = MODES[settings.mode]
    pinned = "" if settings.affinity is None else f", pinned to {settings.affinity}"
    threads = f"{settings.threads} thread{'s' * (settings.threads != 1)}"
    sampling = f"{mode.processes} processes x {mode.values} values"
    return f"preset {settings.preset.value}, {settings.mode} ({sampling}), {threads}{pinned}"
