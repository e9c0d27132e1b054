"""One arm in this process: train, and say after every call what memory was in use.

Before the baseline is read a tiny problem goes through the same code in every arm, so that what libraries
allocate on first use is in the baseline of all, and not in the growth of one.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
from hpt.optimizers.inner import InnerOptimizer
from hpt.records import EventRecord, JumpRecord, MemoryRecord, Phase, jsonable
from hpt.trainer.precision import Precision
from hpt.validate.forced import Forced, config_of, held_bytes, model_of, plain_values, workload_of
from hpt.validate.group import joined, own_batch, wrapped
from hpt.validate.plan import DRILL_MODEL, NO_CLEANUP, OUT_OF_PLACE, PLAIN, WARMUP_STEPS, ValidationJob

READS = 200
READINGS = ("allocated_bytes", "reserved_bytes", "process_bytes", "device_bytes")


def run_arm(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Run it; yields a "start", a "step" after every call, and an "end".

    Args:
        arguments: of the job; "place" among them where several processes run the arm together, see `group`.
    """
    place = arguments.get("place")
    job = ValidationJob.from_document({name: one for name, one in arguments.items() if name != "place"})
    with joined(place):
        yield from _run(job)


def _run(job: ValidationJob) -> Generator[dict[str, Any]]:
    device = torch.device(job.device)
    _warm_up(job)
    meter = PeakMeter(device)
    yield {
        "kind": "start",
        "baseline_bytes": held_bytes(device),
        "baseline": _reading(device),
        "peak_method": meter.method,
        "sources": describe_sources(device),
        "limit_bytes": limit_bytes(device),
        "host_limit_bytes": host_limit_bytes(),
        "threads": torch.get_num_threads(),
        "device_name": torch.cuda.get_device_name(device) if is_gpu(device) else None,
    }
    arm = _PlainArm(job, device) if job.name == PLAIN else _HybridArm(job, meter)
    began = time.perf_counter()
    call = 0
    while arm.num_updates < job.steps:
        call += 1
        meter.start()
        called = time.perf_counter()
        phase, loss = arm.step()
        wall_s = time.perf_counter() - called
        yield jsonable(
            {
                "kind": "step",
                "call": call,
                "step": arm.num_updates,
                "phase": str(phase),
                "loss": loss,
                "peak_bytes": meter.stop(),
                "host_used_bytes": used_host_bytes(),
                "wall_s": wall_s,
                **_reading(device),
            }
        )
    yield jsonable({"kind": "end", "wall_s": time.perf_counter() - began, **arm.account()})


def _reading(device: torch.device) -> dict[str, int | None]:
    reading = read_memory(device)
    return {name: getattr(reading, name) for name in READINGS}


def _warm_up(job: ValidationJob) -> None:
    """All phases on the tiny model, the learner's first updates included: libraries, kernels, allocators."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    tiny = ValidationJob(
        kind="arm",
        name="hybrid",
        model=DRILL_MODEL,
        steps=40,
        batch_size=1,
        seq_len=8,
        device=job.device,
        processes=job.processes,
    )
    Forced(tiny).run(tiny.steps)


class _PlainArm:
    """The loop a user writes by hand, with the same clipping, schedule and precision."""

    def __init__(self, job: ValidationJob, device: torch.device) -> None:
        self._job = job
        workload = self._workload = workload_of(job, device)
        self._model = model_of(workload, job.dtype)
        self._optimizer = workload.build_optimizer(self._model)
        self._wrapped = wrapped(self._model, job)
        self._scheduler = workload.build_scheduler(self._optimizer, job.steps)
        self._precision = Precision(config_of(job, workload, {}).precision, device)
        self.num_updates = 0

    def step(self) -> tuple[Phase, float]:
        """One update."""
        batch = own_batch(self._workload, self._job, self.num_updates)
        phase = Phase.WARMUP if self.num_updates < WARMUP_STEPS else Phase.FULL
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision.forward_context():
            loss = self._workload.loss(self._wrapped, batch)
        loss.backward()
        if self._workload.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._workload.clip_norm)
        self._optimizer.step()
        self._scheduler.step()
        self.num_updates += 1
        return phase, float(loss.detach())

    def account(self) -> dict[str, Any]:
        """Bytes of what the arm holds."""
        return {"items": _items(self._model, InnerOptimizer(self._optimizer))}


class _HybridArm:
    """The trainer on its forced cycle; every jump is watched, and made out of place if that is the arm."""

    def __init__(self, job: ValidationJob, meter: PeakMeter) -> None:
        self._forced = Forced(job, {"memory": {"cleanup_interval": 0}} if job.name == NO_CLEANUP else {})
        self._device, self._meter = torch.device(job.device), meter
        self._out_of_place = job.name == OUT_OF_PLACE
        self._jump_extra_bytes: list[int] = []
        self._forced.trainer.outer.around_move = self._around_move

    @contextmanager
    def _around_move(self) -> Generator[None]:
        """Note the most memory that a jump takes above what was held before it."""
        held = held_bytes(self._device)
        self._meter.split()
        with new_tensors(self._forced.trainer.outer.trajectory.parameters) if self._out_of_place else nullcontext():
            yield
        peak = self._meter.split()
        if held is not None and peak is not None:
            self._jump_extra_bytes.append(max(0, peak - held))

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
        memory, snapshot = trainer.memory, trainer.outer.snapshot
        began = time.perf_counter()
        for _ in range(READS):
            memory.read()
        read_s = (time.perf_counter() - began) / READS
        summary = trainer.summary()
        num_records = sum(isinstance(one, MemoryRecord) for one in forced.records)
        held = {"trajectory": trainer.outer.trajectory.nbytes, "snapshot": 0 if snapshot is None else snapshot.nbytes}
        return {
            "items": _items(forced.model, InnerOptimizer(forced.optimizer)) | held,
            "placement": dict.fromkeys(held, "host" if is_gpu(self._device) else str(self._device)),
            "jump_extra_bytes": max(self._jump_extra_bytes, default=None),
            "num_copies": memory.copies.num_copies,
            "num_cleanups": memory.cleaner.num_cleanups,
            "freed_bytes": memory.cleaner.freed_bytes,
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


@contextmanager
def new_tensors(parameters: Sequence[torch.nn.Parameter]) -> Generator[None]:
    """The test double that jumps out of place: every parameter is replaced by a new tensor, then the old ones go.

    This is how the system hpt re-implements was built (a new model per jump), and what layer 1 prevents: while a jump
    is made all weights exist twice. There is no switch for it.
    """
    old = [parameter.data for parameter in parameters]
    for parameter in parameters:
        parameter.data = parameter.data.clone(memory_format=torch.preserve_format)
    yield
    del old


def _items(model: torch.nn.Module, optimizer: InnerOptimizer) -> dict[str, int]:
    """Bytes of parameters, gradients and optimizer state, shared ones once."""
    parameters = list(model.parameters())
    grads = [one.grad for one in parameters if one.grad is not None]
    return {
        "parameters": sum(one.nbytes for one in parameters),
        "gradients": sum(one.nbytes for one in grads),
        "optimizer_state": sum(one.nbytes for one in optimizer.state_tensors()),
    }
