"""Scenarios that take no time and import nothing heavy, sound and broken ones, for the tests of the harness."""

import errno
import os
import sys
import time
from functools import partial

from hpt.bench.scenario import Measured, Preset, Scenario, require

NUMBERS = list(range(200))


def fine(preset: Preset, *, times: int = 1) -> Measured:
    def call() -> None:
        for _ in range(times):
            sorted(NUMBERS)

    return Measured(call=call, check=lambda: require(sorted([2, 1]) == [1, 2], "it sorts"), per_unit={"number": 200.0})


def broken_set_up(preset: Preset) -> Measured:
    raise ValueError("no such\nfile")


def idle(preset: Preset) -> Measured:
    return Measured(call=list, check=lambda: require(False, "the call works"))


def leaves(preset: Preset) -> Measured:
    sys.exit(0)


def leaves_late(preset: Preset) -> Measured:
    def check() -> None:
        sys.stdout.write("no line of its own")

    return Measured(call=lambda: sys.exit(0), check=check)


def stumbles(preset: Preset) -> Measured:
    def stumble() -> None:
        sys.stderr.write("no line of its own")
        raise KeyError("[k]")

    return Measured(call=stumble, check=lambda: None)


def full_disk(preset: Preset) -> Measured:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def slow(preset: Preset) -> Measured:
    return Measured(call=lambda: time.sleep(0.05), check=lambda: None)


def curious(preset: Preset) -> Measured:
    """Fails unless the worker is as it was asked for."""

    def check() -> None:
        require(os.environ.get("OMP_NUM_THREADS") == "1", "one thread")
        require(os.environ.get("MALLOC_ARENA_MAX") == "1", "allocator settings arrive")
        require(os.environ.get("SECRET") is None, "nothing else does")
        require("torch" not in sys.modules, "torch is not imported")
        require(preset is Preset.REFERENCE, "the preset arrives")

    return Measured(call=list, check=check)


def one(name: str, set_up: object, **more: object) -> Scenario:
    return Scenario(group="light", name=name, summary=name, unit="list", set_up=set_up, **more)  # type: ignore[arg-type]


SCENARIOS = tuple(one(f"sort_{times}", partial(fine, times=times), num_units=times) for times in (1, 2, 4))
SORT = SCENARIOS[0]
BROKEN = one("broken", broken_set_up)
IDLE = one("idle", idle)
LEAVES = one("leaves", leaves)
LEAVES_LATE = one("leaves_late", leaves_late)
STUMBLES = one("stumbles", stumbles)
FULL_DISK = one("full_disk", full_disk)
SLOW = one("slow", slow)
CURIOUS = one("curious", curious)
NOT_ONE = 3
MIXED = (SORT, 3)
BAD_NAME = (Scenario(group="../x", name="y", summary="", unit="u", set_up=fine),)
