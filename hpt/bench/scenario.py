"""What a scenario is: a set-up, one measured call, its unit of work, and a check that the call does the work.

A scenario plug-in is a module with a `Scenario` or a sequence of them, announced in the entry-point group
`hpt.scenarios` or named as `package.module:NAME`. The module is imported to list its scenarios, so whatever is slow to
import (torch) belongs inside `set_up`, which runs once in every worker process.

    def set_up(preset: str) -> Measured:
        numbers = list(range(1000))
        return Measured(call=lambda: sorted(numbers), check=lambda: require(sorted([2, 1]) == [1, 2], "it sorts"))

    SORT = Scenario(group="mine", name="sort", unit="number", num_units=1000, summary="Sort.", set_up=set_up)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hpt.errors import ConfigError, HptError


class Preset(StrEnum):
    """Sizes of the learned model: the shipped ones, or the dimensions of the original's benchmarks."""

    DEFAULT = "default"
    REFERENCE = "reference"


class SelfCheckFailed(HptError):
    """The measured call does not do what the scenario says; timing it would be a lie."""


def require(truth: object, claim: str) -> None:
    """State what a self-check expects.

    Raises:
        SelfCheckFailed: `truth` is not true.
    """
    if not truth:
        raise SelfCheckFailed(f"self-check failed, this does not hold: {claim}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a set-up hands over. Exactly one of `call` and `time_loops` is given.

    Attributes:
        check: raises `SelfCheckFailed` unless the call does its work; runs before the timing in every process.
        call: the measured call; it may be repeated without end.
        time_loops: carries the work out so many times and returns the seconds that only the work took; for calls that
            need something put back in between.
        per_unit: what one unit of work consists of, by singular name, e.g. {"update": 0.02}.
    """

    check: Callable[[], None]
    call: Callable[[], object] | None = None
    time_loops: Callable[[int], float] | None = None
    per_unit: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Refuse a set-up that leaves open what is measured."""
        if (self.call is None) == (self.time_loops is None):
            raise ConfigError("Measured takes call or time_loops, one of the two; give the other no value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of the benchmark.

    Attributes:
        group: name of its group.
        name: its own name; the full one is GROUP/NAME.
        summary: one line.
        unit: singular name of the unit of work, e.g. "predicted step".
        set_up: makes the measured call for a preset.
        num_units: units of work in one timed value.
        inner_loops: timed values in one measured call (pyperf's inner loops); the call's time is divided by it.
        timed_frac: share of a value's duration that is timed, roughly; the rest is what `time_loops` puts back. Values
            are made that much shorter, so that the scenario takes no longer than others.
    """

    group: str
    name: str
    summary: str
    unit: str
    set_up: Callable[[Preset], Measured]
    num_units: int = 1
    inner_loops: int = 1
    timed_frac: float = 1.0

    @property
    def full_name(self) -> str:
        """GROUP/NAME, as in lists and pyperf files."""
        return f"{self.group}/{self.name}"
