"""One arm in this process: train, and say after every call what memory was in use.

Before the baseline is read a tiny problem goes through the same code in every arm, so that what libraries
allocate on first use is in the baseline of all, and not in the growth of one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from hpt.memory.peak import PeakMeter
from hpt.memory.probe import (
    describe_sources,
    host_limit_bytes,
    is_gpu,
    limit_bytes,
    read_memory,
    used_host_bytes,
)
from hpt.records import EventRecord, JumpRecord, MemoryRecord, Phase
from hpt.trainer.hybrid import HybridTrainer
from hpt.trainer.precision import Precision
from hpt.trainer.trajectory import OwnDirection
from hpt.validate.forced import Forced, config_of, model_of, plain_values, workload_of
from hpt.validate.out_of_place import jump_out_of_place
from hpt.validate.plan import DRILL_MODEL, NO_CLEANUP, OUT_OF_PLACE, WARMUP_STEPS, Job

Emit = Callable[[dict[str, Any]], None]
READS = 200


def run_arm(job: Job, emit: Emit) -> None:
    """Run it; `emit` gets a "start", a "step" after every call, and an "end"."""
    device = torch.device(job.device)
    _warm_up(job)
    meter = PeakMeter(device)
    baseline = read_memory(device)
    emit(
        {
            "kind": "start",
            "baseline_bytes": _in_use(device),
            "baseline": _fields(baseline),
            "peak_method": meter.method,
            "sources": describe_sources(device),
            "limit_bytes": limit_bytes(device),
            "host_limit_bytes": host_limit_bytes(),
            "threads": torch.get_num_threads(),
            "device_name": torch.cuda.get_device_name(device) if is_gpu(device) else None,
        }
    )
    arm = _HybridArm(job, meter) if job.is_hybrid else _PlainArm(job, device)
    began = time.perf_counter()
    call = 0
    while arm.num_updates < job.steps:
        call += 1
        meter.start()
        called = time.perf_counter()
        phase, loss = arm.step()
        wall_s = time.perf_counter() - called
        emit(
            {
                "kind": "step",
                "call": call,
                "step": arm.num_updates,
                "phase": str(phase),
                "loss": loss,
                "peak_bytes": meter.stop(),
                "host_used_bytes": used_host_bytes(),
                "wall_s": wall_s,
                **_fields(read_memory(device)),
            }
        )
    emit({"kind": "end", "wall_s": time.perf_counter() - began, **arm.account()})


def _fields(reading: Any) -> dict[str, int | None]:
    names = ("allocated_bytes", "reserved_bytes", "process_bytes", "device_bytes")
    return {name: getattr(reading, name) for name in names}


def _in_use(device: torch.device) -> int | None:
    """What peaks are measured against before the model exists."""
    reading = read_memory(device)
    return reading.allocated_bytes if is_gpu(device) else reading.process_bytes


def _warm_up(job: Job) -> None:
    """All phases on the tiny model, the learner's first updates included: libraries, kernels, allocators."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    tiny = Job(
        kind="arm", name="hybrid", model=DRILL_MODEL, steps=40, batch_size=1, seq_len=8, device=job.device, seed=0
    )
    Forced(tiny).run(tiny.steps)


class _PlainArm:
    """The loop a user writes by hand, with the same clipping, schedule and precision."""

    def __init__(self, job: Job, device: torch.device) -> None:
        workload = self._workload = workload_of(job, device)
        self._model = model_of(workload, job.dtype)
        self._optimizer = workload.build_optimizer(self._model)
        self._scheduler = workload.build_scheduler(self._optimizer, job.steps)
        self._precision = Precision(config_of(job, workload, {}).precision, device)
        self.num_updates = 0

    def step(self) -> tuple[Phase, float]:
        """One update."""
        batch = self._workload.batch(self.num_updates)
        phase = Phase.WARMUP if self.num_updates < WARMUP_STEPS else Phase.FULL
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision.forward_context():
            loss = self._workload.loss(self._model, batch)
        loss.backward()
        if self._workload.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._workload.clip_norm)
        self._optimizer.step()
        self._scheduler.step()
        self.num_updates += 1
        return phase, float(loss.detach())

    def account(self) -> dict[str, Any]:
        """Bytes of what the arm holds."""
        return {"items": _held(self._model, self._optimizer)}


class _HybridArm:
    """The trainer on its forced cycle."""

    def __init__(self, job: Job, meter: PeakMeter) -> None:
        changes = {"memory": {"cleanup_interval": 0}} if job.name == NO_CLEANUP else {}
        self._forced = Forced(job, changes)
        if job.name == OUT_OF_PLACE:
            jump_out_of_place(self._forced.trainer)
        self._jump_extra_bytes = _watch_jumps(self._forced.trainer, meter)

    @property
    def num_updates(self) -> int:
        """Net updates."""
        return self._forced.trainer.num_updates

    def step(self) -> tuple[Phase, float]:
        """One call."""
        phase = self._forced.trainer.phase
        return phase, self._forced.step()

    def account(self) -> dict[str, Any]:
        """Bytes of what the arm holds, what the layers did and what they cost."""
        forced, trainer = self._forced, self._forced.trainer
        parts = trainer._parts  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        snapshot = parts.moving.snapshot
        began = time.perf_counter()
        for _ in range(READS):
            parts.memory.read()
        read_s = (time.perf_counter() - began) / READS
        summary = trainer.summary()
        num_records = sum(isinstance(one, MemoryRecord) for one in forced.records)
        held = {"trajectory": parts.trajectory.nbytes, "snapshot": 0 if snapshot is None else snapshot.nbytes}
        return {
            "items": _held(forced.model, forced.optimizer) | held,
            "placement": _placement(parts),
            "jump_extra_bytes": max(self._jump_extra_bytes, default=None),
            "num_copies": parts.memory.copies.num_copies,
            "num_cleanups": parts.memory.cleaner.num_cleanups,
            "freed_bytes": parts.memory.cleaner.freed_bytes,
            "phases": summary["phases"],
            "counters": summary["counters"],
            "seconds": summary["seconds"],
            "trainer_wall_s": summary["wall_s"],
            "num_memory_records": num_records,
            "read_s": read_s,
            "probe_s": summary["seconds"]["part"].get("memory", 0.0) + num_records * read_s,
            "jumps": [plain_values(one) for one in forced.records if isinstance(one, JumpRecord)],
            "events": [plain_values(one) for one in forced.records if isinstance(one, EventRecord)],
        }


def _watch_jumps(trainer: HybridTrainer, meter: PeakMeter) -> list[int]:
    """The most memory that each later application of a jump takes above what was held before it, bytes."""
    trajectory = trainer._parts.trajectory  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    device, apply = trainer._parts.device, trajectory.apply  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    found: list[int] = []

    def watched(
        coefficients: Mapping[str, float], own: OwnDirection | None = None, group_factors: Sequence[float] = ()
    ) -> None:
        held = _in_use(device)
        meter.split()
        apply(coefficients, own, group_factors)
        peak = meter.split()
        if held is not None and peak is not None:
            found.append(max(0, peak - held))

    trajectory.apply = watched
    return found


def _placement(parts: Any) -> dict[str, str]:
    """Where trajectory and snapshot live."""
    where = "host" if parts.device.type == "cuda" else str(parts.device)
    return {"trajectory": where, "snapshot": where}


def _held(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes of parameters, gradients and optimizer state, shared ones once."""
    parameters = list(model.parameters())
    grads = [one.grad for one in parameters if one.grad is not None]
    states = [value for entry in optimizer.state.values() for value in entry.values()]
    return {
        "parameters": sum(one.nbytes for one in parameters),
        "gradients": sum(one.nbytes for one in grads),
        "optimizer_state": sum(one.nbytes for one in states if isinstance(one, torch.Tensor)),
    }
