"""What is done when something goes wrong: retry, skip, undo a jump, roll back, give up with a checkpoint's path."""

import math
from typing import Any

import torch

from hpt.control.divergence import Action, Level, Verdict
from hpt.control.health import Advice, Recommendation
from hpt.errors import OutOfMemory, TrainingDiverged
from hpt.memory.manager import is_out_of_memory
from hpt.records import Phase
from hpt.trainer import persistence
from hpt.trainer.full_step import FullOutcome, SchedulerError
from hpt.trainer.parts import Parts

MIN_HORIZON_FACTOR = 0.125


def run_with_retries(parts: Parts, batch: Any) -> FullOutcome:
    """One micro-batch; out of memory is answered by freeing and running the whole update again.

    Raises:
        OutOfMemory: still no memory after `memory.max_retries` retries; a checkpoint was written if a folder is set.
    """
    parts.moving.update_batches.append(batch)
    if parts.plain:
        parts.moving.update_batches.clear()
        return parts.full.run(batch)
    for attempt in range(parts.config.memory.max_retries + 1):
        try:
            return parts.full.run(batch) if attempt == 0 else parts.full.rerun()
        except BaseException as error:
            if is_out_of_memory(error):
                _free(parts, error)
                continue
            parts.full.forget()
            parts.moving.update_batches = []
            if isinstance(error, SchedulerError):
                _count_update(parts)
            raise
    parts.full.forget()
    parts.moving.update_batches = []
    raise OutOfMemory(
        f"out of memory at update {parts.controller.step} after {parts.config.memory.max_retries} retries"
        f"{_checkpoint_note(parts)}; lower the batch size or raise update.accumulation_steps"
    )


def _count_update(parts: Parts) -> None:
    """An update that stands although what came after it failed; the cycle around it is given up."""
    parts.controller.full_step_done()
    parts.controller.forced_full()
    parts.trajectory.begin_cycle()


def _free(parts: Parts, error: BaseException) -> None:
    """Drop gradients and caches. A failed optimizer step may be half done, so the weights go back if it began."""
    parts.event("out_of_memory", f"{first_line(error)}; freed, trying again")
    if parts.full.stepping:
        roll_back(parts, "memory ran out inside the optimizer's update")
    parts.optimizer.zero_grad(set_to_none=True)
    parts.memory.recover(error)


def first_line(error: BaseException) -> str:
    """What the error says, cut to one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _checkpoint_note(parts: Parts) -> str:
    if parts.folder is None:
        return ""
    saved = persistence.save_now(parts)
    return f", state saved to {saved}" if saved else ""


def skipped(parts: Parts, outcome: FullOutcome) -> None:
    """An update was refused: not finite, or the loss scale was lowered (which is no divergence).

    Raises:
        TrainingDiverged: `divergence.max_skips` refusals in a row.
    """
    moving = parts.moving
    moving.update_batches = []
    if outcome.fault == "loss scale lowered":
        parts.event("loss_scale_lowered", "the gradient scaler skipped this update")
        return
    moving.skips_in_row += 1
    parts.event("update_skipped", f"{outcome.fault}; update refused, buffers restored", loss=outcome.loss)
    if parts.correct.in_doubt:
        roll_back_jump(parts, "not finite after a jump")
    elif not _weights_finite(parts):
        roll_back(parts, "weights are not finite")
    if moving.skips_in_row >= parts.config.divergence.max_skips:
        where = moving.last_checkpoint or "none was written; set checkpoint.dir"
        raise TrainingDiverged(
            f"{moving.skips_in_row} updates in a row were not finite at update {parts.controller.step}; "
            f"lower the learning rate or check the data; last checkpoint: {where}"
        )


def _weights_finite(parts: Parts) -> bool:
    return all(bool(torch.isfinite(p).all()) for group in parts.full.groups for p in group)


def roll_back_jump(parts: Parts, reason: str) -> None:
    """Undo a kept jump and the full steps since, exactly: weights, buffers, optimizer, scheduler."""
    watched, lost = parts.correct.watched, parts.correct.num_seen
    assert watched is not None, "no jump to undo"
    outcome = parts.correct.close(rolled_back=True)
    parts.ledger.counters.jumps_rolled_back += 1
    parts.ledger.counters.steps_covered_by_jumps -= watched.horizon
    parts.moving.horizon_factor = max(MIN_HORIZON_FACTOR, parts.moving.horizon_factor * 0.5)
    parts.gate.rejected()
    if outcome is not None:
        parts.predictor.judge(outcome)
    parts.event("jump_rolled_back", reason, steps_lost=lost)
    _restore(parts, lost)


def roll_back(parts: Parts, reason: str) -> None:
    """Back to the end of the last cycle; the net step count goes back with it."""
    lost = parts.controller.cycle_position
    parts.correct.close(rolled_back=True)
    parts.event("rolled_back", reason, steps_lost=lost)
    _restore(parts, lost)


def _restore(parts: Parts, num_steps: int) -> None:
    if parts.moving.snapshot is None:
        where = parts.moving.last_checkpoint or "none was written; set checkpoint.dir"
        raise TrainingDiverged(
            f"weights were lost at update {parts.controller.step}, before a first snapshot existed; "
            f"lower the learning rate; last checkpoint: {where}"
        )
    parts.moving.snapshot.restore()
    parts.moving.fork = None
    parts.moving.proposal = parts.moving.facts = parts.moving.rollout = None
    parts.optimizer.zero_grad(set_to_none=True)
    parts.ledger.counters.updates_rolled_back += num_steps
    parts.controller.rolled_back(num_steps)
    parts.controller.forced_full()
    parts.monitor.rolled_back(num_steps)
    parts.trajectory.begin_cycle()
    parts.ledger.lap("snapshot")


def act_on(parts: Parts, verdict: Verdict) -> bool:
    """Carry out the divergence monitor's verdict on an ordinary step; True when it ended the cycle.

    While a jump is in doubt its own forecast band is the judge, so everything below it is left to that.

    Raises:
        TrainingDiverged: more than `divergence.max_rollbacks` critical rollbacks.
    """
    moving, config = parts.moving, parts.config.divergence
    _count_retry(parts)
    if not config.enabled or parts.correct.in_doubt or verdict.level is Level.NORMAL:
        return False
    signals = ", ".join(signal.name for signal in verdict.signals)
    if verdict.action is Action.SHRINK_HORIZON:
        moving.horizon_factor = max(MIN_HORIZON_FACTOR, moving.horizon_factor * 0.5)
        return False
    parts.event("divergence", f"{verdict.level.name.lower()}: {signals}", action=str(verdict.action))
    if verdict.action is Action.FORCE_FULL:
        parts.trajectory.begin_cycle()
        parts.controller.forced_full()
        return True
    if verdict.action is Action.ROLL_BACK and moving.snapshot is not None:
        moving.rollbacks += 1
        if moving.rollbacks > config.max_rollbacks:
            where = moving.last_checkpoint or "none was written; set checkpoint.dir"
            raise TrainingDiverged(
                f"{moving.rollbacks} critical divergences ({signals}) by update {parts.controller.step}; "
                f"lower the learning rate; last checkpoint: {where}"
            )
        roll_back(parts, f"critical: {signals}")
        parts.full.lr_factor = config.retry_lr_factor
        moving.retry_left = config.retry_steps
        return True
    return False


def _count_retry(parts: Parts) -> None:
    """Full steps at the lowered learning rate run out one by one."""
    if parts.moving.retry_left > 0:
        parts.moving.retry_left -= 1
        if parts.moving.retry_left == 0:
            parts.full.lr_factor = 1.0


def probe_failed(parts: Parts, error: Exception) -> None:
    """The loss function raised inside PREDICT: the jump is off, the weights are as before it."""
    parts.memory.recover(error)
    parts.event("probe_failed", f"{type(error).__name__}: {error}; the jump was undone, a full step follows")
    parts.ledger.counters.jumps_rejected += 1
    parts.gate.rejected()
    parts.moving.proposal = parts.moving.facts = parts.moving.rollout = None
    parts.trajectory.begin_cycle()
    if parts.controller.phase is Phase.PREDICT:
        parts.controller.jump_rejected()


def carry_out(parts: Parts, recommendation: Recommendation) -> None:
    """Apply one recommendation of the health score."""
    if not math.isfinite(recommendation.factor):
        return
    if recommendation.what is Advice.LEARNING_RATE:
        parts.full.lr_factor *= recommendation.factor
        parts.health.restart()  # what was seen at the old rate says nothing about the new one
    elif recommendation.what is Advice.CLIP:
        parts.full.clip_norm = recommendation.factor * parts.health.usual_grad_norm
    elif recommendation.what is Advice.HORIZON:
        parts.moving.horizon_factor = max(
            MIN_HORIZON_FACTOR, min(1.0, parts.moving.horizon_factor * recommendation.factor)
        )
