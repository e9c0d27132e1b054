"""What happens around the end of a cycle: read and judge its steps, measure the path, decide whether to jump, jump.

    after_step   count it; CORRECT's verdict when it falls; broken weights; a fork's end; the end of the cycle
    _end_cycle   `cycle_end.end`, and then a jump, a fork or the next cycle
    predict      the PREDICT call: probe, jump, probe, keep or undo; the next cycle begins

The order of decisions, once a cycle: window and progress (gate), choice by value and proposal, or a fork (predictor),
trust region and probe (outer step), verdict (CORRECT). Each can only say no.
"""

import math
from collections.abc import Sequence
from typing import Any

from hpt.jump.batch import BatchSpent, KeptBatch
from hpt.jump.outer import JumpResult
from hpt.jump.stats import CycleStats
from hpt.predictors.protocol import ForkRequest
from hpt.trainer import cycle_end, forks, jumping, recovery
from hpt.trainer.components import Components
from hpt.trainer.cycle_end import Ending
from hpt.trainer.paired_test import examine, keep
from hpt.trainer.pending import losses_since_jump, read
from hpt.trainer.rollback import NO_LOSSES, look_whether_jump_survived, roll_back, roll_back_jump


def after_step(c: Components, batches: Sequence[KeptBatch]) -> None:
    """After a full step: CORRECT's verdict, the open fork, and the end of the cycle when its K steps are done."""
    verdict_falls = c.correct.count_step()
    if c.controller.cycle_done:
        _look_at_parameters(c, after_cycle=True)
    if follow_change(c) or (verdict_falls and _verdict_falls_against_jump(c, batches)):
        return
    if _watch(c, batches) and recovery.question(c, batches, "high losses"):
        return
    if c.correct.num_seen == 1:
        look_whether_jump_survived(c)
    if c.state.fork is not None:
        if not forks.observe(c, c.state.fork, batches):
            recovery.undo_cycle(c, "loss or gradient was not finite in a fork")
    elif c.controller.cycle_done:
        c.state.is_changing = False
        _end_cycle(c, batches, is_followed=bool(c.outer.trajectory.parameters))


def settle_parameters(c: Components) -> None:
    """Between two updates, before a jump or a checkpoint: are the trained parameters still the same?"""
    if c.is_baseline:
        return
    _look_at_parameters(c, after_cycle=False)
    follow_change(c)


def _look_at_parameters(c: Components, *, after_cycle: bool) -> None:
    if c.parameters.refresh():
        c.lay_rows_anew()
    c.parameters.look_at_memory(after_cycle=after_cycle)


def follow_change(c: Components) -> bool:
    """If other parameters are trained than at the cycle's start, it ends here and nothing jumps over the change.

    The steps so far stand, if they are finite, and with them a jump in doubt: their losses, higher or lower than
    before, speak of another model. The change is told once until a whole cycle has passed without another. Returns
    whether there was one.
    """
    if not c.parameters.change:
        return False
    if not c.state.is_changing:
        c.event("parameters_changed", f"{c.parameters.change}; the cycle starts anew")
    c.state.is_changing = True
    c.follow_parameters()
    if c.state.fork is not None:
        forks.drop(c, "its branches would train other parameters")
    if c.history.num_pending:
        _end_cycle(c, [], is_followed=False)
    c.correct.close(NO_LOSSES, rolled_back=False)  # a jump without a step since
    c.state.proposal = c.state.stats = None
    c.outer.begin_cycle()
    c.outer.take_snapshot()
    c.controller.forced_full()
    return True


def _verdict_falls_against_jump(c: Components, batches: Sequence[KeptBatch]) -> bool:
    """The losses left the forecast's band, and the same batches say that it was the jump's doing."""
    excess = c.correct.excess(losses_since_jump(c, read(c)))
    if math.isfinite(excess) and excess <= 0.0:
        return False
    verdict = examine(c, batches, c.correct.is_to_blame)
    if verdict.is_broken is False:
        recovery.data_changed(c, f"losses above the forecast's band: {verdict.text}")
        c.correct.close(NO_LOSSES, rolled_back=False)  # what comes now tells nothing of the jump
        return False
    roll_back_jump(c, f"loss left the forecast's band by {excess:.4g}; {verdict.text}")
    return True


def _watch(c: Components, batches: Sequence[KeptBatch]) -> bool:
    """Whether the weights are to be questioned after this step, as far as its loss is known by now."""
    if not c.config.divergence.enabled:
        return False
    loss = c.readings.newest_loss
    is_unusual = None if loss is None else c.monitor.is_unusual(loss)
    if batches:
        keep(c, batches[-1], is_unusual=is_unusual)
    return is_unusual is not None and not c.correct.in_doubt and c.monitor.watch(is_unusual=is_unusual)


def _end_cycle(c: Components, batches: Sequence[KeptBatch], *, is_followed: bool) -> None:
    ended = cycle_end.end(c, lambda signal: recovery.question(c, batches, signal), is_followed=is_followed)
    if ended is Ending.NOT_FINITE:
        recovery.undo_cycle(c, "loss or gradient was not finite in the cycle")
    elif ended is Ending.WEIGHTS_LOST:
        roll_back(c, "weights are not finite at the end of a cycle")
    elif isinstance(ended, CycleStats):
        _go_on(c, ended)
    c.ledger.lap("trajectory")


def _go_on(c: Components, stats: CycleStats) -> None:
    """The cycle stands: a jump, a fork, or the next cycle."""
    proposal = jumping.ask(c, stats)
    if proposal is None:
        c.outer.begin_cycle()
        c.controller.start_cycle()
    elif isinstance(proposal, ForkRequest):
        forks.begin(c, proposal, stats)
    else:
        c.state.proposal, c.state.stats = proposal, stats
        c.controller.begin_predict()


def predict(c: Components, batch: Any) -> JumpResult:
    """The PREDICT call: carry out the waiting proposal, and begin the next cycle from where the weights are then.

    Raises:
        Exception: whatever the user's loss function raises; the weights are then as before the call.
    """
    if c.outer.snapshot is None:
        c.outer.take_snapshot()
    c.ledger.counters.jumps_proposed += 1
    paired = jumping.affords_pair(c)
    batches = c.probe.batches(batch, paired=paired)
    if not c.together.are_several and (reason := c.probe.objection(batches)):  # else the probe tells, in all at once
        raise BatchSpent(reason)
    return jumping.make(c, lambda: c.measure(batches), paired=paired)
