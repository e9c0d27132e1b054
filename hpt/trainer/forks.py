"""Opening, following and settling forks: see `fork` for what one is.

While a fork is open no cycle ends: its steps stay pending until it is settled, so that only the branch that goes on is
ever remembered.
"""

import math
from typing import Any

from hpt.history import FloatArray
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.numerics.rng import set_torch_rng_state, torch_rng_state
from hpt.predictors.protocol import Proposal
from hpt.records import ForkRecord
from hpt.trainer.codec import can_hold
from hpt.trainer.components import Components
from hpt.trainer.fork import NO_VALUE, Fork, ForkPlan, ForkValue, paired_value
from hpt.trainer.pending import read, stand


def begin(c: Components, proposal: Proposal, stats: CycleStats, batches: list[Any]) -> None:
    """Keep the state with the jump for later, and go on without it. `batches` are the last update's, for the probe."""
    c.forks.took()
    snapshot = c.outer.snapshot
    assert snapshot is not None, "a fork starts at the end of a cycle"
    c.ledger.counters.forks += 1
    c.ledger.counters.jumps_proposed += 1
    try:
        before = c.measure(batches)
        made = c.outer.move(proposal.delta, stats)
        after = c.measure(batches)
        jumped = c.present()
    finally:
        snapshot.restore()
    c.ledger.counters.factor_flops += made.factor_flops
    plan = ForkPlan(
        step=c.controller.step,
        arm=proposal.arm,
        horizon=proposal.horizon,
        norm_ratio=stats.norm_ratio(made.norm),
        gain=made.delta.gain,
        immediate=(sum(after) - sum(before)) / len(batches),
    )
    c.state.fork = Fork(plan, c.config.fork.steps, jumped, torch_rng_state())
    c.outer.begin_cycle()
    c.controller.start_cycle()
    c.ledger.lap("fork")


def observe(c: Components, fork: Fork, batches: list[Any]) -> None:
    """Show the fork one full step of the first branch, and settle it when that was its last."""
    if not fork.add(batches) or not can_hold(batches):
        drop(c, "its batches are too large, or of a type that cannot be kept")
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

    The call is long: it replays all steps of the branch. On any exception the branch without the jump stands.
    """
    c.state.fork = None
    counters = c.ledger.counters
    losses = read(c).loss[-fork.num_steps :]
    without, updates = c.present(), counters.optimizer_updates
    rng = fork.replay_rng()
    try:
        fork.jumped.restore()
        rows = _replay(c, fork)
    except BaseException:
        c.readings.clear()
        without.restore()
        set_torch_rng_state(rng)
        raise
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
        set_torch_rng_state(rng)
    c.outer.begin_cycle()
    c.controller.forced_full()
    steps, trend = c.history.pending(), c.trend.copy()
    stand(c, steps, trend, trend.observe(steps.loss))
    _tell(c, fork, result, kept=kept)
    c.ledger.lap("fork")


def _replay(c: Components, fork: Fork) -> FloatArray:
    """Full steps on the fork's batches, (n, 2 + G) of what they gave; fewer than updates when one was refused."""
    for batch in fork.batches:
        outcome = c.full.run(batch)
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
