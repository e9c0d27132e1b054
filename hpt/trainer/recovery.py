"""What is done when something goes wrong: retry, skip, undo a jump, roll back, give up with a checkpoint's path.

Weights go back only when they are broken: not finite, or far worse than the last snapshot's on the same batches
(`paired_test`). What the data did is recorded, and the run goes on. A run is given up when its weights are lost, or
broken again after every retry, each at a lower rate than the one before; a cycle that stands ends the count.
"""

from collections.abc import Sequence
from typing import Any

import torch

from hpt.errors import OutOfMemory, TrainingDiverged
from hpt.jump.batch import BatchSpent, KeptBatch
from hpt.memory.manager import is_out_of_memory
from hpt.numerics.shards import local
from hpt.records import Phase
from hpt.trainer import checkpoint
from hpt.trainer.components import Components
from hpt.trainer.full_step import SCALE_LOWERED, FullOutcome, SchedulerError
from hpt.trainer.paired_test import broken_by, examine
from hpt.trainer.pending import read
from hpt.trainer.rollback import last_checkpoint, roll_back, roll_back_jump

NUM_EXPLAINED = 6  # newest steps whose losses a verdict on the data is about
MAX_SKIPS = 3  # updates, or cycles, in a row that are not finite before the run is given up
MAX_ROLLBACKS = 3  # of broken weights, with no cycle that stands in between
RETRY_LR_FACTOR = 0.5  # learning rate after the first of them, relative; after the next its square, and so on
RETRY_STEPS = 50  # at that rate, beyond those that were lost


def run_with_retries(c: Components, batch: Any) -> FullOutcome:
    """One micro-batch; out of memory is answered by freeing and running the whole update again.

    Raises:
        OutOfMemory: still no memory after `memory.max_retries` retries, or the batch cannot be had again; a checkpoint
            was written if a folder is set.
    """
    if c.is_baseline:
        return c.full.run(batch)
    tried = f"after {c.config.memory.max_retries} retries"
    for attempt in range(c.config.memory.max_retries + 1):
        try:
            return c.full.run(batch) if attempt == 0 else c.full.rerun()
        except BatchSpent as error:
            tried = f"and it was not tried again, since {error}"
            break
        except BaseException as error:
            if is_out_of_memory(error) and c.together.are_several:
                raise out_of_memory_of_many(c, error) from error
            if is_out_of_memory(error):
                _free(c, error)
                continue
            c.full.forget()
            if isinstance(error, SchedulerError):
                _count_update(c)
            raise
    c.full.forget()
    raise OutOfMemory(
        f"out of memory at update {c.controller.step} {tried}{_checkpoint_note(c)}; "
        "lower the batch size or raise update.accumulation_steps"
    )


def out_of_memory_of_many(c: Components, error: BaseException) -> OutOfMemory:
    """What ends this process, and by the connection that it leaves the others: a retry would be this one's alone."""
    return OutOfMemory(
        f"out of memory in process {c.together.rank} of {c.together.num_processes} at update {c.controller.step} "
        f"({first_line(error)}), and processes that train together do not retry; lower the batch size or raise "
        f"update.accumulation_steps; last checkpoint: {last_checkpoint(c)}"
    )


def _count_update(c: Components) -> None:
    """An update that stands although what came after it failed; the cycle around it is given up."""
    c.controller.full_step_done()
    c.controller.forced_full()
    c.outer.begin_cycle()


def _free(c: Components, error: BaseException) -> None:
    """Drop gradients and caches. A failed optimizer step may be half done, so the weights go back if it began."""
    c.event("out_of_memory", f"{first_line(error)}; freed, trying again")
    if c.full.stepping:
        roll_back(c, "memory ran out inside the optimizer's update")
    c.optimizer.zero_grad()
    c.memory.recover(error)


def first_line(error: BaseException) -> str:
    """What the error says, cut to one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _checkpoint_note(c: Components) -> str:
    if c.folder is None:
        return ""
    saved = checkpoint.save_now(c)
    return f", state saved to {saved}" if saved else ""


def skipped(c: Components, outcome: FullOutcome) -> None:
    """An update was refused: not finite, or the loss scale was lowered (which is no divergence).

    Raises:
        TrainingDiverged: `MAX_SKIPS` refusals in a row, or the weights stay broken after every retry.
    """
    if outcome.fault == SCALE_LOWERED:
        c.event("loss_scale_lowered", "the gradient scaler skipped this update")
        return
    c.event("update_skipped", f"{outcome.fault}; update refused, buffers restored", loss=outcome.read_loss())
    if not _weights_finite(c):
        give_up_weights(c, "weights are not finite")
        return
    verdict = examine(c, outcome.batches, broken_by(c.monitor.usual))
    if verdict.is_broken:
        give_up_weights(c, f"weights are broken: {verdict.text}")
        return
    _count_skip(c, "updates")


def undo_cycle(c: Components, reason: str) -> None:
    """Numbers that are read once a cycle turned out not finite: everything since the last snapshot is undone.

    Raises:
        TrainingDiverged: `MAX_SKIPS` such cycles in a row.
    """
    if c.correct.jump is not None:
        roll_back_jump(c, reason)
    else:
        roll_back(c, reason)
    _count_skip(c, "cycles")


def _count_skip(c: Components, what: str) -> None:
    c.state.skips_in_row += 1
    if c.state.skips_in_row >= MAX_SKIPS:
        raise TrainingDiverged(
            f"{c.state.skips_in_row} {what} in a row were not finite at update {c.controller.step}; "
            f"lower the learning rate or check the data; last checkpoint: {last_checkpoint(c)}"
        )


def _weights_finite(c: Components) -> bool:
    return all(bool(torch.isfinite(local(p)).all()) for group in c.parameters.groups for p in group)


def question(c: Components, batches: Sequence[KeptBatch], signal: str) -> bool:
    """Something is critical: True when the weights were broken, and went back; else it is recorded as the data's doing.

    Raises:
        TrainingDiverged: see `give_up_weights`.
    """
    verdict = examine(c, batches, broken_by(c.monitor.usual))
    if verdict.is_broken:
        give_up_weights(c, f"weights are broken: {verdict.text}")
        return True
    data_changed(c, f"{signal}: {verdict.text}")
    return False


def data_changed(c: Components, text: str) -> None:
    """The newest losses are the data's fault: no signal for a while, and usual if they stay."""
    losses = read(c).loss[-NUM_EXPLAINED:]
    c.monitor.explain(float(losses.max()), c.history.num_pending)
    c.event("data_changed", f"the weights are not to blame for {text}", loss=float(losses[-1]))


def give_up_weights(c: Components, reason: str) -> None:
    """Back to the last snapshot; if no jump is to blame, the steps that were lost are retried at a lower rate.

    Raises:
        TrainingDiverged: they broke again after each of `MAX_ROLLBACKS` retries.
    """
    if c.correct.in_doubt:
        roll_back_jump(c, reason)
        return
    state = c.state
    state.rollbacks += 1
    if state.rollbacks > MAX_ROLLBACKS:
        raise TrainingDiverged(
            f"{reason}, at update {c.controller.step}, after {MAX_ROLLBACKS} retries at ever lower rates; "
            f"lower the learning rate; last checkpoint: {last_checkpoint(c)}"
        )
    num_lost = roll_back(c, reason)
    c.full.lr_factor = RETRY_LR_FACTOR**state.rollbacks
    state.retry_left = num_lost + RETRY_STEPS


def count_retry(c: Components) -> None:
    """Full steps at the lowered learning rate run out one by one."""
    if c.state.retry_left > 0:
        c.state.retry_left -= 1
        if c.state.retry_left == 0:
            c.full.lr_factor = 1.0


def probe_failed(c: Components, error: Exception) -> None:
    """A probe was not possible: the jump is off, the weights are as before it; after several in a row all jumps are."""
    if isinstance(error, BatchSpent):
        c.event_once("batch_spent", f"{error}; where that is so a full step is made instead of a jump")
    else:
        c.event("probe_failed", f"{type(error).__name__}: {error}; the jump was undone, a full step follows")
    was_memory = c.memory.recover(error) and not c.together.are_several  # which only one process may know of
    c.probe.num_failed += not was_memory
    if c.probe.is_off:
        c.event_once("jumps_off", f"{c.probe.num_failed} probes in a row failed; training goes on without jumps")
    c.ledger.counters.jumps_rejected += 1
    c.gate.judge(kept=False)
    c.state.proposal = c.state.stats = None
    c.outer.begin_cycle()
    if c.controller.phase is Phase.PREDICT:
        c.controller.jump_rejected()
