"""What an update is made of: its time by component, what a jump costs, and whether the components explain the whole.

Jumps are forced (gate "always", one policy), because components that never run cannot be timed. There are no forks,
which are work and not overhead. The cost of an update is then taken apart twice: by the trainer's laps, which add up to
its wall time, and from single components, put together again as

    predicted cost of an update = plain step + components of each step + components of each cycle / K

The difference to the measured cost is what components do to each other, through caches for example.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hpt.memory.probe import read_memory
from hpt.profile.side_by_side import SideBySide, per_update
from hpt.records import MemoryRecord, Record
from hpt.statistics import median_estimate
from hpt.workloads.workload import Workload

STEP_WORK = ("forward", "backward", "optimizer")  # what the plain loop does too
MEMORY_READINGS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentTimes:
    """Times of one workload; `part` in a name is a component, as stored files have it.

    Attributes:
        cycle_steps: K, updates of a cycle.
        cycles: cycles timed.
        plain_step_s: median over cycles of the plain loop's seconds an update.
        update_s: the same of the trainer's, everything included.
        cost_ratio: median over cycles of trainer over plain, with its bootstrap interval.
        part_s: seconds an update by component; they add up to the trainer's mean.
        detail_s: seconds an update inside some of these: memory probes, one reading times their number.
        phase_s: seconds an update by phase.
        jumps: kept; covered_steps: full steps they stand for.
        memory_probe_s: one reading of the memory counters; memory_probes: readings made.
        probe_forwards: forward passes of probes.
    """

    cycle_steps: int
    cycles: int
    plain_step_s: float
    update_s: float
    cost_ratio: tuple[float, float, float]
    part_s: dict[str, float]
    detail_s: dict[str, float]
    phase_s: dict[str, float]
    jumps: int
    covered_steps: int
    memory_probe_s: float
    memory_probes: int
    probe_forwards: int

    @property
    def predicted_cost_ratio(self) -> float:
        """Cost of an update over a plain step, from the components that the plain loop does not have."""
        return 1.0 + self._extra_s() / self.plain_step_s

    def _extra_s(self) -> float:
        return sum(seconds for name, seconds in self.part_s.items() if name not in STEP_WORK)

    @property
    def jump_cost_ratio(self) -> float | None:
        """Jump and probe over the full steps they cover, relative to a plain step; None without a kept jump."""
        return self._per_covered(self.part_s.get("jump", 0.0) + self.part_s.get("probe", 0.0))

    @property
    def whole_cost_ratio(self) -> float | None:
        """The same with everything that the plain loop does not have."""
        return self._per_covered(self._extra_s())

    def _per_covered(self, update_s: float) -> float | None:
        return update_s / self.covered_per_update / self.plain_step_s if self.covered_steps else None

    @property
    def covered_per_update(self) -> float:
        """Full steps that jumps stand for, for every update made."""
        return self.covered_steps / (self.cycles * self.cycle_steps)

    @property
    def nominal_steps_ratio(self) -> float:
        """Updates plus covered steps over updates: what it would be if every covered step were worth a full one."""
        return 1.0 + self.covered_per_update

    def speed_ratio(self, steps_ratio: float) -> tuple[float, float]:
        """Wall-clock ratio to the plain loop for arms that need `steps_ratio` fewer updates: predicted, measured."""
        return steps_ratio / self.predicted_cost_ratio, steps_ratio / self.cost_ratio[0]

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        derived = ("predicted_cost_ratio", "jump_cost_ratio", "whole_cost_ratio", "nominal_steps_ratio")
        document = {name: getattr(self, name) for name in (*self.__slots__, *derived)}
        return document | {"cost_ratio": dict(zip(("value", "low", "high"), self.cost_ratio, strict=True))}


def profile_components(workload: Workload, predictor: str, *, total_steps: int, cycles: int) -> ComponentTimes:
    """Time `cycles` cycles of a run planned for `total_steps`, after a warm-up.

    Raises:
        ConfigError: the predictor is unknown.
    """
    readings: list[Record] = []

    def note(record: Record) -> None:
        if isinstance(record, MemoryRecord):
            readings.append(record)

    values: dict[str, Any] = {
        "predictor": predictor,
        "gate": "always",
        "total_steps": total_steps,
        "predict": {"policy": "full-kept", "window_start_frac": 0.0, "window_end_frac": 1.0},
    }
    both = SideBySide(workload, values, note)
    both.warm_up()
    before, probes_before = both.trainer.summary(), len(readings)
    times = both.blocks(cycles)
    after, updates = both.trainer.summary(), cycles * both.cycle_steps
    one_probe_s, probes = memory_probe_s(workload.device), len(readings) - probes_before
    made = {name: count - before["counters"][name] for name, count in after["counters"].items()}
    return ComponentTimes(
        cycle_steps=both.cycle_steps,
        cycles=cycles,
        plain_step_s=float(np.median(times[:, 0])) / both.cycle_steps,
        update_s=float(np.median(times[:, 1])) / both.cycle_steps,
        cost_ratio=median_estimate(times[:, 1] / times[:, 0]),
        part_s=per_update(before["seconds"]["part"], after["seconds"]["part"], updates),
        detail_s={"memory probe": one_probe_s * probes / updates},
        phase_s=per_update(before["seconds"]["phase"], after["seconds"]["phase"], updates),
        jumps=made["jumps_accepted"],
        covered_steps=made["steps_covered_by_jumps"],
        memory_probe_s=one_probe_s,
        memory_probes=probes,
        probe_forwards=made["probe_forwards"],
    )


def memory_probe_s(device: torch.device) -> float:
    """Seconds of one reading of all memory counters."""
    read_memory(device)
    began = time.perf_counter()
    for _ in range(MEMORY_READINGS):
        read_memory(device)
    return (time.perf_counter() - began) / MEMORY_READINGS
