"""The memory layers at work in a trainer: what the manager finds becomes an event, a degradation or a checkpoint."""

from dataclasses import asdict
from typing import Any

from hpt.memory.cleanup import CleanUp
from hpt.memory.manager import MemoryAlarm
from hpt.records import MemoryRecord, Phase
from hpt.trainer import cycle, persistence
from hpt.trainer.parts import Parts
from hpt.trainer.recovery import MIN_HORIZON_FACTOR, first_line


def after_update(parts: Parts) -> None:
    """Layers 1, 2 and 4, once an update of the optimizer stands."""
    parts.ledger.lap("control")
    findings = parts.memory.after_update()
    if findings.num_moved:
        parts.event(
            "parameters_moved",
            "parameters were replaced instead of written in place, which costs a copy of each",
            num_moved=findings.num_moved,
            num_updates=findings.num_updates,
        )
    if findings.cleanup is not None:
        _report(parts, findings.cleanup)
    for alarm in findings.alarms:
        _answer(parts, alarm)
    parts.ledger.lap("memory")


def _report(parts: Parts, cleanup: CleanUp) -> None:
    parts.event(
        "memory_freed",
        f"{cleanup.freed_bytes} of {cleanup.idle_bytes} idle bytes given back",
        idle_bytes=cleanup.idle_bytes,
        freed_bytes=cleanup.freed_bytes,
    )


def _answer(parts: Parts, alarm: MemoryAlarm) -> None:
    used, limit = parts.memory.thresholds.used_bytes, parts.memory.thresholds.limit_of(alarm)
    where = f"{used} bytes of memory are in use, threshold {limit}"
    if alarm is MemoryAlarm.WARN:
        parts.event("memory_warning", where, used_bytes=used)
    elif alarm is MemoryAlarm.DEGRADE:
        done = parts.degradation.step_down()
        if parts.degradation.halves_horizon:
            parts.moving.horizon_factor = max(MIN_HORIZON_FACTOR, parts.moving.horizon_factor * 0.5)
        parts.event("memory_degraded", f"{where}; {done}", rung=parts.degradation.rung, used_bytes=used)
    else:
        parts.moving.save_soon = True
        parts.event("memory_emergency", f"{where}; a checkpoint follows this call", used_bytes=used)


def record(parts: Parts, phase: Phase) -> None:
    """Layer 3: one reading at a change of phase."""
    if parts.config.memory.record_phases and not parts.plain:
        parts.sink(MemoryRecord(call=parts.moving.num_calls, phase=phase, **asdict(parts.memory.read())))


def end_step(parts: Parts, batches: list[Any], loss: float) -> None:
    """What follows a full step that stands; without memory for it the cycle is given up, the step is not."""
    try:
        cycle.after_step(parts, batches, loss)
    except Exception as error:
        if not parts.memory.recover(error):
            raise
        _give_up_cycle(parts, error)


def _give_up_cycle(parts: Parts, error: BaseException) -> None:
    moving = parts.moving
    moving.fork = None
    moving.proposal = moving.facts = None
    if moving.snapshot is not None and not moving.snapshot.is_whole:
        moving.snapshot = None
    parts.event("out_of_memory", f"{first_line(error)}; this cycle's jump is given up, training goes on")
    parts.trajectory.begin_cycle()
    parts.controller.forced_full()


def save_when_asked(parts: Parts, phase: Phase) -> None:
    """The emergency checkpoint, after the call that raised the alarm."""
    if not parts.moving.save_soon or parts.full.accumulating:
        return
    parts.moving.save_soon = False
    if parts.folder is None:
        parts.event("emergency_checkpoint_impossible", "checkpoint.dir is not set, so nothing was saved")
        return
    parts.ledger.begin()
    path = persistence.save_now(parts)
    parts.ledger.extend(phase)
    if path is not None:
        parts.event("emergency_checkpoint", f"state saved to {path}", path=path)
