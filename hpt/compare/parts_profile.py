"""Where a step's time goes: the trainer beside the plain loop, block by block, and every part of it by itself.

Both train the same workload on the same batches in one process, a cycle of K updates each in changing order, so that a
machine that slows down slows both. Jumps are forced (gate "always", warm-up of three cycles), because parts that never
run cannot be timed; forks are off, they are work and not overhead. The cost of an update is then taken apart twice: by
the trainer's laps, which add up to its wall time, and from single parts, put together again as

    predicted cost of an update = plain step + parts of each step + parts of each cycle / K

The difference to the measured cost is what parts do to each other, through caches for example.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hpt.compare.plain_loop import PlainLoop
from hpt.compare.statistics import bootstrap_interval, resampled_seeds
from hpt.compare.stopwatch import memory_probe_s, watch_predictor
from hpt.config import HybridConfig
from hpt.predictors.registry import build_predictor
from hpt.records import MemoryRecord, Record
from hpt.trainer.hybrid import HybridTrainer
from hpt.trainer.parts import with_cycle
from hpt.workloads.workload import Workload

WARMUP_CYCLES = 4  # three before a jump may be, and one that warms up the caches; none of them is timed
STEP_WORK = ("forward", "backward", "optimizer")  # what the plain loop does too


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsProfile:
    """Times of one workload.

    Attributes:
        cycle_steps: K, updates of a cycle.
        cycles: cycles timed.
        plain_step_s: median over cycles of the plain loop's seconds an update.
        update_s: the same of the trainer's, everything included.
        cost_ratio: median over cycles of trainer over plain, with its bootstrap interval.
        part_s: seconds an update by part; they add up to the trainer's mean.
        detail_s: seconds an update inside some of these parts; memory probes: one reading times their number.
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
        """Cost of an update over a plain step, from the parts that the plain loop does not have."""
        extra = sum(seconds for part, seconds in self.part_s.items() if part not in STEP_WORK)
        return 1.0 + extra / self.plain_step_s

    @property
    def jump_cost_ratio(self) -> float | None:
        """Jump and probe over the full steps they cover, relative to a plain step; None without a kept jump."""
        return self._per_covered(("jump", "probe"))

    @property
    def whole_cost_ratio(self) -> float | None:
        """The same with everything that the plain loop does not have."""
        return self._per_covered(tuple(part for part in self.part_s if part not in STEP_WORK))

    def _per_covered(self, parts: tuple[str, ...]) -> float | None:
        if not self.covered_steps:
            return None
        seconds = sum(self.part_s.get(part, 0.0) for part in parts) * self.cycles * self.cycle_steps
        return seconds / self.covered_steps / self.plain_step_s

    def speed_ratio(self, steps_ratio: float) -> tuple[float, float]:
        """Wall-clock ratio to the plain loop for arms that need `steps_ratio` fewer updates: predicted, measured."""
        return steps_ratio / self.predicted_cost_ratio, steps_ratio / self.cost_ratio[0]

    @property
    def nominal_steps_ratio(self) -> float:
        """Updates plus covered steps over updates: what it would be if every covered step were worth a full one."""
        updates = self.cycles * self.cycle_steps
        return (updates + self.covered_steps) / updates

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        median, low, high = self.cost_ratio
        return plain | {
            "cost_ratio": {"value": median, "low": low, "high": high},
            "predicted_cost_ratio": self.predicted_cost_ratio,
            "jump_cost_ratio": self.jump_cost_ratio,
            "whole_cost_ratio": self.whole_cost_ratio,
            "nominal_steps_ratio": self.nominal_steps_ratio,
        }


def profile_parts(workload: Workload, predictor: str, *, total_steps: int, cycles: int) -> PartsProfile:
    """Time `cycles` cycles of a run planned for `total_steps`, after a warm-up.

    Raises:
        ConfigError: the predictor is unknown.
    """
    return _Bench(workload, predictor, total_steps).run(cycles)


class _Bench:
    """Plain loop and trainer side by side."""

    def __init__(self, workload: Workload, predictor: str, total_steps: int) -> None:
        self._workload = workload
        self._plain = PlainLoop(workload, total_steps)
        self._memory_records = 0
        self._batches = 0
        model = workload.build_model()
        optimizer = workload.build_optimizer(model)
        cycle_steps = with_cycle(HybridConfig(total_steps=total_steps), optimizer).cycle_steps
        self._config = _config(workload, predictor, total_steps, cycle_steps)
        parameters = sum(one.numel() for group in optimizer.param_groups for one in group["params"])
        groups = len(optimizer.param_groups)
        made = build_predictor(self._config, num_parameters=parameters, num_groups=groups)
        self._watch = watch_predictor(made)
        schedule = workload.build_scheduler(optimizer, total_steps)
        self._trainer = HybridTrainer(
            model, optimizer, workload.loss, self._config, schedule, self._note, predictor=made
        )

    def _note(self, record: Record) -> None:
        self._memory_records += isinstance(record, MemoryRecord)

    def run(self, cycles: int) -> PartsProfile:
        cycle_steps = self._config.cycle_steps
        for _ in range(WARMUP_CYCLES):
            self._cycle(cycle_steps, plain_first=True)
        before, detail, records = self._trainer.summary(), dict(self._watch.seconds), self._memory_records
        times = np.asarray([self._cycle(cycle_steps, plain_first=index % 2 == 0) for index in range(cycles)])
        after, updates = self._trainer.summary(), cycles * cycle_steps
        ratios = times[:, 1] / times[:, 0]
        one_probe_s, probes = memory_probe_s(self._workload.device), self._memory_records - records
        details = _difference(detail, self._watch.seconds, updates)
        return PartsProfile(
            cycle_steps=cycle_steps,
            cycles=cycles,
            plain_step_s=float(np.median(times[:, 0])) / cycle_steps,
            update_s=float(np.median(times[:, 1])) / cycle_steps,
            cost_ratio=(float(np.median(ratios)), *_interval(ratios)),
            part_s=_difference(before["seconds"]["part"], after["seconds"]["part"], updates),
            detail_s=details | {"memory probe": one_probe_s * probes / updates},
            phase_s=_difference(before["seconds"]["phase"], after["seconds"]["phase"], updates),
            jumps=_count(before, after, "jumps_accepted"),
            covered_steps=_count(before, after, "steps_covered_by_jumps"),
            memory_probe_s=one_probe_s,
            memory_probes=probes,
            probe_forwards=_count(before, after, "probe_forwards"),
        )

    def _cycle(self, cycle_steps: int, *, plain_first: bool) -> tuple[float, float]:
        """Seconds of one cycle of updates: plain, trainer with the jump that ends it."""
        batches = [self._workload.batch(self._batches + index) for index in range(cycle_steps + 1)]
        self._batches += len(batches)
        if plain_first:
            plain_s = self._plain_s(batches[:cycle_steps])
            return plain_s, self._trainer_s(batches, cycle_steps)
        trainer_s = self._trainer_s(batches, cycle_steps)
        return self._plain_s(batches[:cycle_steps]), trainer_s

    def _plain_s(self, batches: list[Any]) -> float:
        began = time.perf_counter()
        for batch in batches:
            self._plain.step(batch)
        self._synchronize()
        return time.perf_counter() - began

    def _trainer_s(self, batches: list[Any], cycle_steps: int) -> float:
        trainer = self._trainer
        goal, position = trainer.num_updates + cycle_steps, 0
        began = time.perf_counter()
        while trainer.num_updates < goal:
            trainer.step(batches[position % len(batches)])
            position += 1
        self._synchronize()
        return time.perf_counter() - began

    def _synchronize(self) -> None:
        if self._workload.device.type == "cuda":
            torch.cuda.synchronize(self._workload.device)


def _config(workload: Workload, predictor: str, total_steps: int, cycle_steps: int) -> HybridConfig:
    values: dict[str, Any] = {
        "predictor": predictor,
        "gate": "always",
        "total_steps": total_steps,
        "full_steps": cycle_steps,
        "warmup_steps": 3 * cycle_steps,
        "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0},
        "fork": {"budget_frac": 0.0},
    }
    if workload.clip_norm is not None:
        values["update"] = {"clip_norm": workload.clip_norm}
    return HybridConfig.from_dict(values)


def _difference(before: dict[str, float], after: dict[str, float], updates: int) -> dict[str, float]:
    return {part: (seconds - before.get(part, 0.0)) / updates for part, seconds in after.items()}


def _count(before: dict[str, Any], after: dict[str, Any], name: str) -> int:
    return int(after["counters"][name] - before["counters"][name])


def _interval(ratios: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    return bootstrap_interval(np.median(ratios[resampled_seeds(len(ratios))], axis=1))
