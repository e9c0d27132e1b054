"""Opening, following and settling forks: see `fork` for what one is.

While a fork is open no cycle ends: its steps stay pending until it is settled, so that only the branch that goes on is
ever remembered.
"""

import math
from collections.abc import Sequence

from hpt.history import FloatArray
from hpt.jump.batch import KeptBatch
from hpt.jump.outer import Move
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.memory.manager import is_out_of_memory
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.predictors.protocol import Proposal
from hpt.records import ForkRecord
from hpt.trainer import recovery
from hpt.trainer.codec import can_hold
from hpt.trainer.components import Components
from hpt.trainer.fork import NO_VALUE, Fork, ForkPlan, ForkValue, paired_value
from hpt.trainer.pending import read, stand


def begin(c: Components, proposal: Proposal, stats: CycleStats, batches: Sequence[KeptBatch]) -> None:
    """Keep the state with the jump for later, and go on without it. `batches` are the last update's, for the probe."""
    c.forks.took()
    c.ledger.counters.jumps_proposed += 1
    try:
        immediate, made, jumped = _jumped(c, proposal, stats, batches)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        recovery.probe_failed(c, error)
        c.controller.start_cycle()
        return
    c.ledger.counters.forks += 1
    c.ledger.counters.factor_flops += made.factor_flops
    plan = ForkPlan(
        step=c.controller.step,
        arm=proposal.arm,
        horizon=proposal.horizon,
        norm_ratio=stats.norm_ratio(made.norm),
        gain=made.delta.gain,
        immediate=immediate,
    )
    c.state.fork = Fork(plan, c.config.fork.steps, jumped, stream_states(c.full.reach.sources))
    c.outer.begin_cycle()
    c.controller.start_cycle()
    c.ledger.lap("fork")


def _jumped(
    c: Components, proposal: Proposal, stats: CycleStats, batches: Sequence[KeptBatch]
) -> tuple[float, Move, Snapshot]:
    """Change of the probed loss, and the state with the jump; the weights are as before."""
    snapshot = c.outer.snapshot
    assert snapshot is not None, "a fork starts at the end of a cycle"
    try:
        before = c.measure(batches)
        made = c.outer.move(proposal.delta, stats)
        after = c.measure(batches)
        return (sum(after) - sum(before)) / len(batches), made, c.present()
    finally:
        snapshot.restore()


def observe(c: Components, fork: Fork, batches: Sequence[KeptBatch]) -> None:
    """Show the fork one full step of the first branch, and settle it when that was its last."""
    fits = fork.add(batches) and can_hold([batch.value for batch in batches])
    reason = c.probe.objection(fork.batches if fork.complete else batches)
    if reason or not fits:
        drop(c, reason or "its batches are too large, or of a type that cannot be kept")
    elif fork.complete:
        _settle(c, fork)
    elif c.controller.cycle_done:
        c.controller.start_cycle()


def drop(c: Components, reason: str) -> None:
    """Give the open fork up; the branch without the jump is an ordinary run."""
    c.event("fork_dropped", f"the run goes on without the fork: {reason}")
    c.ledger.counters.jumps_rejected += 1
    c.state.fork = None
    c.outer.begin_cycle()
    c.controller.forced_full()


def _settle(c: Components, fork: Fork) -> None:
    """Run the other branch on the same batches, keep the better one, learn the value.

    The call is long: it replays all steps of the branch. On any exception the branch without the jump stands. The
    random streams go on from where the first branch left them, since the caller's data pipeline draws from them, too.
    """
    c.state.fork = None
    counters = c.ledger.counters
    losses = read(c).loss[-fork.num_steps :]
    without, updates = c.present(), counters.optimizer_updates
    streams = stream_states(c.full.reach.sources)
    try:
        set_stream_states(fork.rng, c.full.reach.sources)
        fork.jumped.restore()
        rows = _replay(c, fork)
    except BaseException:
        c.readings.clear()
        without.restore()
        raise
    finally:
        set_stream_states(streams, c.full.reach.sources)
    whole = len(rows) == fork.num_steps
    result = paired_value(losses.tolist(), rows[:, 0].tolist()) if whole else NO_VALUE
    kept = result.value > 0.0
    counters.updates_in_losing_branches += counters.optimizer_updates - updates
    counters.jumps_accepted += int(kept)
    counters.jumps_rejected += int(not kept)
    if kept:
        counters.steps_covered_by_jumps += fork.plan.horizon
        c.history.replace(rows)
    else:
        without.restore()
    c.outer.begin_cycle()
    c.controller.forced_full()
    steps, trend = c.history.pending(), c.trend.copy()
    stand(c, steps, trend, trend.observe(steps.loss))
    _tell(c, fork, result, kept=kept)
    c.ledger.lap("fork")


def _replay(c: Components, fork: Fork) -> FloatArray:
    """Full steps on the fork's batches, (n, 2 + G) of what they gave; fewer than updates when one was refused."""
    for batch in fork.batches:
        outcome = c.full.run(batch.again())
        if outcome.updated and outcome.row is not None:
            c.readings.add(outcome.row)
        elif outcome.fault is not None:
            break
    c.full.forget()
    return c.readings.drain()[0]


def _tell(c: Components, fork: Fork, result: ForkValue, *, kept: bool) -> None:
    plan, finite = fork.plan, math.isfinite(result.value)
    c.predictor.judge(
        JumpOutcome(
            step=plan.step,
            arm=plan.arm,
            kept=kept,
            rolled_back=False,
            norm_ratio=plan.norm_ratio,
            gain=plan.gain,
            loss_change=plan.immediate if math.isfinite(plan.immediate) else None,
            good=kept,
            value=result.value if finite else None,
            value_se=result.value_se if finite else None,
        )
    )
    c.sink(
        ForkRecord(
            step=plan.step,
            num_steps=fork.num_steps,
            immediate=plan.immediate,
            value=result.value,
            value_se=result.value_se,
            kept_jump=kept,
            arm=plan.arm,
        )
    )
