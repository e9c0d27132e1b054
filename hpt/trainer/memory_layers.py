"""The memory layers at work in a trainer: what the manager finds becomes an event, a degradation or a checkpoint."""

from collections.abc import Sequence
from dataclasses import asdict

from hpt.jump.batch import KeptBatch
from hpt.memory.cleanup import CleanUp
from hpt.memory.manager import NO_FINDINGS, Findings, MemoryAlarm
from hpt.records import MemoryRecord, Phase
from hpt.trainer import checkpoint, cycle
from hpt.trainer.components import Components
from hpt.trainer.recovery import first_line, out_of_memory_of_many
from hpt.trainer.rollback import MIN_HORIZON_FACTOR


def after_update(c: Components) -> None:
    """Layers 1, 2 and 4, once an update of the optimizer stands."""
    findings = c.memory.after_update()
    if findings is NO_FINDINGS:
        return
    if findings.num_moved:
        c.event(
            "parameters_moved",
            "parameters were replaced instead of written in place, which costs a copy of each",
            num_moved=findings.num_moved,
            num_updates=findings.num_updates,
        )
    if findings.cleanup is not None:
        _report(c, findings.cleanup)
    for alarm in _agreed(c, findings):
        _answer(c, alarm)
    c.ledger.lap("memory")


def _agreed(c: Components, findings: Findings) -> Sequence[MemoryAlarm]:
    """Alarms of any process are all processes' alarms; they look at the same updates."""
    if not c.together.are_several or not findings.num_updates:
        return findings.alarms
    raised = c.together.any([alarm in findings.alarms for alarm in MemoryAlarm])
    return [alarm for alarm, is_raised in zip(MemoryAlarm, raised, strict=True) if is_raised]


def _report(c: Components, cleanup: CleanUp) -> None:
    c.event(
        "memory_freed",
        f"{cleanup.freed_bytes} of {cleanup.idle_bytes} idle bytes given back",
        idle_bytes=cleanup.idle_bytes,
        freed_bytes=cleanup.freed_bytes,
    )


def _answer(c: Components, alarm: MemoryAlarm) -> None:
    used, limit = c.memory.thresholds.used_bytes, c.memory.thresholds.limit_of(alarm)
    where = f"{used} bytes of memory are in use, threshold {limit}"
    if alarm is MemoryAlarm.WARN:
        c.event("memory_warning", where, used_bytes=used)
    elif alarm is MemoryAlarm.DEGRADE:
        done = c.degradation.step_down()
        if c.degradation.halves_horizon:
            c.state.horizon_factor = max(MIN_HORIZON_FACTOR, c.state.horizon_factor * 0.5)
        c.event("memory_degraded", f"{where}; {done}", rung=c.degradation.rung, used_bytes=used)
    else:
        c.state.save_soon = True
        c.event("memory_emergency", f"{where}; a checkpoint follows this call", used_bytes=used)


def record(c: Components, phase: Phase) -> None:
    """Layer 3: one reading at a change of phase."""
    if not c.is_baseline:
        c.sink(MemoryRecord(call=c.state.num_calls, phase=phase, **asdict(c.memory.read())))


def end_step(c: Components, batches: Sequence[KeptBatch]) -> None:
    """What follows a full step that stands; without memory for it the cycle is given up, the step is not."""
    try:
        cycle.after_step(c, batches)
    except Exception as error:
        if not c.memory.recover(error):
            raise
        if c.together.are_several:
            raise out_of_memory_of_many(c, error) from error
        _give_up_cycle(c, error)


def _give_up_cycle(c: Components, error: BaseException) -> None:
    c.state.fork = None
    c.state.proposal = c.state.stats = None
    if c.outer.snapshot is not None and not c.outer.snapshot.is_whole:
        c.outer.snapshot = None
    c.event("out_of_memory", f"{first_line(error)}; this cycle's jump is given up, training goes on")
    c.outer.begin_cycle()
    c.controller.forced_full()


def save_when_asked(c: Components, phase: Phase) -> None:
    """The emergency checkpoint, after the call that raised the alarm."""
    if not c.state.save_soon or c.full.accumulating:
        return
    c.state.save_soon = False
    if c.folder is None:
        c.event("emergency_checkpoint_impossible", "checkpoint.dir is not set, so nothing was saved")
        return
    c.ledger.begin()
    path = checkpoint.save_now(c)
    c.ledger.extend(phase)
    if path is not None:
        c.event("emergency_checkpoint", f"state saved to {path}", path=path)
