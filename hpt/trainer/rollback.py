"""Going back: a kept jump is undone with the steps since it, or the run returns to the end of its last cycle."""

import numpy as np

from hpt.errors import TrainingDiverged
from hpt.trainer.engine import Engine
from hpt.trainer.pending import losses_since_jump, read

MIN_HORIZON_FACTOR = 0.125
NO_LOSSES = np.zeros(0)


def roll_back_jump(c: Engine, reason: str) -> None:
    """Undo a kept jump and the full steps since, exactly: weights, buffers, optimizer, scheduler."""
    watched = c.correct.jump
    assert watched is not None, "no jump to undo"
    outcome = c.correct.close(losses_since_jump(c, read(c)), rolled_back=True)
    c.ledger.counters.jumps_rolled_back += 1
    c.ledger.counters.steps_covered_by_jumps -= watched.horizon
    c.state.horizon_factor = max(MIN_HORIZON_FACTOR, c.state.horizon_factor * 0.5)
    c.gate.judge(kept=False)
    if outcome is not None:
        c.predictor.judge(outcome)
    _restore(c, "jump_rolled_back", reason)


def look_whether_jump_survived(c: Engine) -> None:
    """The first full step since a kept jump is made; an optimizer that overwrites jumps gets no more of them."""
    watched, lost = c.correct.jump, c.outer.overwritten_frac()
    if watched is None or lost is None:
        return
    c.correct.close(NO_LOSSES, rolled_back=True)
    c.predictor.retire()
    counters = c.ledger.counters
    counters.jumps_accepted -= 1
    counters.jumps_rejected += 1
    counters.steps_covered_by_jumps -= watched.horizon
    c.event(
        "jumps_overwritten",
        f"{lost:.0%} of a jump was gone after the next update: the optimizer keeps weights of its own and writes them "
        "over the model's; no more jumps in this run, use an optimizer that updates the weights in place",
        lost_frac=lost,
    )


def roll_back(c: Engine, reason: str) -> int:
    """Back to the end of the last cycle; the net step count goes back with it, by the steps that are returned."""
    c.correct.close(losses_since_jump(c, read(c)), rolled_back=True)
    return _restore(c, "rolled_back", reason)


def _restore(c: Engine, event: str, reason: str) -> int:
    """Weights, history and step count go back to the snapshot; a fork or proposal that came after it is off.

    Returns:
        Steps lost.

    Raises:
        TrainingDiverged: there is no snapshot yet.
    """
    if c.outer.snapshot is None:
        raise TrainingDiverged(
            f"weights were lost at update {c.controller.step}, before a first snapshot existed; "
            f"lower the learning rate; last checkpoint: {last_checkpoint(c)}"
        )
    read(c)
    num_steps = c.history.drop()
    c.event(event, reason, steps_lost=num_steps)
    if c.state.fork is not None and not c.history.num_pending:
        c.state.fork.start.path.restore(c.outer.trajectory)  # its cycles are in the trend
    c.outer.undo()
    c.state.fork = None
    c.state.proposal = c.state.stats = None
    c.forget_gradients()
    c.ledger.counters.updates_rolled_back += num_steps
    c.controller.rolled_back(num_steps)
    c.controller.forced_full()
    c.monitor.rolled_back(c.history.past_losses, c.history.past_grad_norms)
    c.ledger.lap("snapshot")
    return num_steps


def last_checkpoint(c: Engine) -> str:
    """Its path, for a message."""
    return c.state.last_checkpoint or "none was written; set checkpoint.dir"
