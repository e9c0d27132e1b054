"""Drills: layers that act only on events are made to act, once switched on and once switched off.

Each drill trains a small model on the forced cycle, provokes its event, and compares what happened with what
must happen: an account of both runs, what was saved, what it cost, and whether the drill passed.
"""

import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import torch

from hpt.errors import OutOfMemory
from hpt.memory.cleanup import free_idle
from hpt.memory.probe import is_gpu, read_memory
from hpt.records import JumpRecord, MemoryRecord, StepRecord
from hpt.validate.forced import Forced, drill_report, results_of
from hpt.validate.option_drills import OPTION_DRILLS
from hpt.validate.plan import ValidationJob

IDLE_BYTES = 128 * 1024**2
IDLE_BLOCK_BYTES = 64 * 1024  # below the size at which malloc maps blocks of their own
KEPT_EVERY = 8
LEAST_BYTES = 2.0  # any use is above a threshold of two bytes
OOM_CALL = 12
IMPOSSIBLE_BYTES = 1 << 46  # 64 TiB: no device has it, and no system promises it
SHORT_STEPS = 12


def run_drills(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """The drills that a job names, each with its result or the error that it met."""
    return results_of(arguments, run_drill)


def run_drill(job: ValidationJob) -> dict[str, Any]:
    """Carry out the drill named by the job."""
    return {"name": job.name, "model": job.model, **(DRILLS | OPTION_DRILLS)[job.name](job)}


def _memory_s(forced: Forced) -> float:
    """Seconds that the layers took."""
    return forced.trainer.summary()["seconds"]["part"].get("memory", 0.0)


def clean_up(job: ValidationJob) -> dict[str, Any]:
    """Layer 2: idle memory goes back to the system, and stays where it is without the layer."""
    Forced(job).run(SHORT_STEPS)  # what libraries allocate on first use belongs to neither run
    on, off = (_with_idle_memory(job, interval) for interval in (10, 0))
    saved = off["held_bytes"] - on["held_bytes"]
    return drill_report(
        2,
        on,
        off,
        passed=saved > IDLE_BYTES // 2 and on["num_cleanups"] >= 1 and off["num_cleanups"] == 0,
        saved_bytes=saved,
        cost_s=on["memory_s"] - off["memory_s"],
        evidence=f"{IDLE_BYTES} bytes made idle; {saved} bytes less held with the layer than without, "
        f"{on['num_cleanups']} clean-ups",
    )


def _with_idle_memory(job: ValidationJob, interval: int) -> dict[str, Any]:
    device = torch.device(job.device)
    free_idle(device, collect=True)
    before = _in_use(device)
    forced = Forced(job, {"memory": {"cleanup_interval": interval, "cleanup_min_bytes": IDLE_BYTES // 4}})
    forced.run(1)
    holder = _make_idle(device)
    forced.run(SHORT_STEPS)
    held = _in_use(device) - before
    del holder
    num_cleanups = forced.trainer.memory.cleaner.num_cleanups
    return {"held_bytes": held, "num_cleanups": num_cleanups, "memory_s": _memory_s(forced)}


def _in_use(device: torch.device) -> int:
    """What the process holds on the device, idle memory of its allocator included."""
    reading = read_memory(device)
    held = reading.reserved_bytes if is_gpu(device) else reading.process_bytes
    assert held is not None, "a GPU that torch uses and a living process have readings"
    return held


def _make_idle(device: torch.device) -> list[torch.Tensor]:
    """Free IDLE_BYTES in blocks between others that stay, so that the allocator cannot give them back by itself."""
    if is_gpu(device):
        torch.ones(IDLE_BYTES, dtype=torch.uint8, device=device)
        return []
    count = IDLE_BYTES // IDLE_BLOCK_BYTES * KEPT_EVERY // (KEPT_EVERY - 1)
    blocks = [torch.ones(IDLE_BLOCK_BYTES, dtype=torch.uint8) for _ in range(count)]
    return blocks[::KEPT_EVERY]


def record(job: ValidationJob) -> dict[str, Any]:
    """Layer 3: as many readings as changes of phase, none in the plain loop, which has no layers."""
    on, off = (_recorded(job, changes) for changes in ({}, {"predictor": "none"}))
    return drill_report(
        3,
        on,
        off,
        passed=on["num_records"] == on["num_changes"] > 0 and on["num_read"] > 0 and off["num_records"] == 0,
        cost_s=on["num_records"] * on["read_s"],
        evidence=f"{on['num_records']} records, {on['num_changes']} changes of phase; {off['num_records']} when off",
    )


def _recorded(job: ValidationJob, changes: Mapping[str, Any]) -> dict[str, Any]:
    forced = Forced(job, changes)
    forced.run(job.steps)
    forced.trainer.finish()  # where steps are read once a cycle, records of the last ones still wait
    phases = [one.phase for one in forced.records if isinstance(one, StepRecord)]
    records = [one for one in forced.records if isinstance(one, MemoryRecord)]
    began = time.perf_counter()
    read_memory(job.device)
    return {
        "num_records": len(records),
        "num_changes": sum(one is not other for one, other in pairwise(phases)),
        "num_read": sum(bool(one.process_bytes or one.allocated_bytes) for one in records),
        "read_s": time.perf_counter() - began,
    }


def degrade(job: ValidationJob) -> dict[str, Any]:
    """Layer 4: warned once, then down the ladder, copies first and then the horizon; nothing without thresholds."""
    low = {"warn_at": LEAST_BYTES, "degrade_at": LEAST_BYTES, "check_interval": 4}
    on, off = (_degraded(job, memory) for memory in (low, {"warn_at": None, "degrade_at": None}))
    saved = off["trajectory_bytes"] - on["trajectory_bytes"]
    shorter = on["horizon"] is not None and off["horizon"] is not None and on["horizon"] < off["horizon"]
    quiet = off["num_warnings"] + off["rung"] == 0
    return drill_report(
        4,
        on,
        off,
        passed=on["num_warnings"] == 1 and on["rung"] >= 2 and saved > 0 and shorter and quiet,
        saved_bytes=saved,
        cost_s=on["memory_s"] - off["memory_s"],
        evidence=f"rung {on['rung']}, trajectory on the device {off['trajectory_bytes']} -> "
        f"{on['trajectory_bytes']} bytes, horizon {off['horizon']} -> {on['horizon']} steps",
    )


def _degraded(job: ValidationJob, memory: Mapping[str, Any]) -> dict[str, Any]:
    changes = {"memory": dict(memory), "predictor": "nesterov", "trajectory": {"device": "device"}}
    forced = Forced(job, changes, rolls_back=False)
    forced.run(job.steps)
    said = forced.events("memory_degraded")
    return {
        "num_warnings": len(forced.events("memory_warning")),
        "rung": len(said),
        "said": said,
        "trajectory_bytes": forced.trainer.outer.trajectory.device_nbytes,
        "horizon": next((one.horizon for one in forced.records if isinstance(one, JumpRecord)), None),
        "memory_s": _memory_s(forced),
    }


def emergency(job: ValidationJob) -> dict[str, Any]:
    """Layer 4: a checkpoint is written when use crosses its threshold, and the run goes on from it bit for bit."""
    with tempfile.TemporaryDirectory() as name:
        with_layer, without = Path(name, "on"), Path(name, "off")
        whole = _saving(job, with_layer, {"checkpoint_at": LEAST_BYTES, "check_interval": 25})
        losses = whole.run(job.steps)
        saved = sorted(with_layer.glob("*.safetensors"))
        _saving(job, without, {"checkpoint_at": None}).run(job.steps)
        resumed = _saving(job, with_layer, {"checkpoint_at": None})
        rest: list[float] = []
        if saved:
            resumed.trainer.load(saved[0])
            losses = losses[resumed.trainer.num_calls :]
            rest = resumed.run(job.steps)
        same = rest == losses and len(rest) > 0
        size = saved[0].stat().st_size if saved else None
        num_off = len(list(without.glob("*.safetensors")))
    return drill_report(
        4,
        {"num_checkpoints": len(saved), "checkpoint_bytes": size, "num_calls_after_resume": len(rest)},
        {"num_checkpoints": num_off},
        passed=len(saved) == 1 and same and num_off == 0,
        cost_s=whole.trainer.summary()["seconds"]["part"].get("checkpoint", 0.0),
        evidence=f"{len(saved)} checkpoint of {size} bytes; {len(rest)} calls after it "
        f"{'repeat' if same else 'do NOT repeat'} bit for bit",
    )


def _saving(job: ValidationJob, folder: Path, memory: Mapping[str, Any]) -> Forced:
    checkpoint = {"dir": str(folder), "save_interval": 10**6}  # no periodic ones
    return Forced(job, {"memory": dict(memory), "checkpoint": checkpoint}, rolls_back=False)


def out_of_memory(job: ValidationJob) -> dict[str, Any]:
    """Layer 5 on an allocation that is made to fail after the forward pass."""

    def fail(device: torch.device) -> None:
        raise torch.OutOfMemoryError(f"drill: made to fail on {device}")

    return _exhausted(job, fail)


def out_of_memory_real(job: ValidationJob) -> dict[str, Any]:
    """Layer 5 on an allocation that the device or the system itself refuses."""
    return _exhausted(job, lambda device: torch.empty(IMPOSSIBLE_BYTES, dtype=torch.uint8, device=device))


def _exhausted(job: ValidationJob, provoke: Callable[[torch.device], object]) -> dict[str, Any]:
    undisturbed = _undisturbed(replace(job, name=""))
    on = Forced(job, rolls_back=False)
    _plant(on, provoke)
    losses = tuple(on.run(job.steps))
    off = Forced(job, {"memory": {"max_retries": 0}}, rolls_back=False)
    _plant(off, provoke)
    ended = ""
    try:
        off.run(job.steps)
    except OutOfMemory as error:
        ended = str(error)
    said, same = on.events("out_of_memory"), losses == undisturbed
    return drill_report(
        5,
        {"num_caught": len(said), "said": said, "same_losses": same},
        {"ended": ended},
        passed=same and len(said) == 1 and bool(ended),
        evidence=f"caught {len(said)} at call {OOM_CALL}; {len(losses)} losses "
        f"{'equal' if same else 'DIFFER FROM'} those of the run without it; without the layer: {ended or 'no error'}",
    )


@cache
def _undisturbed(job: ValidationJob) -> tuple[float, ...]:
    return tuple(Forced(job, rolls_back=False).run(job.steps))


def _plant(forced: Forced, provoke: Callable[[torch.device], object]) -> None:
    """The OOM_CALL-th forward pass runs out of memory, once."""
    workload, loss_of = forced.workload, forced.workload.loss
    calls = count(1)

    def loss(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        value = loss_of(model, batch)
        if next(calls) == OOM_CALL:
            provoke(workload.device)
        return value

    workload.loss = loss


DRILLS: dict[str, Callable[[ValidationJob], dict[str, Any]]] = {
    "clean-up": clean_up,
    "record": record,
    "degrade": degrade,
    "emergency": emergency,
    "out-of-memory": out_of_memory,
    "out-of-memory-real": out_of_memory_real,
}
