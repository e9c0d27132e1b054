"""Opening and settling forks: see `fork` for what one is."""

import math
from typing import Any

from hpt.learned.facts import CycleFacts, JumpOutcome, gain_of
from hpt.numerics.rng import set_torch_rng_state, torch_rng_state
from hpt.predictors.protocol import Proposal
from hpt.records import ForkRecord
from hpt.trainer.fork import Fork, ForkPlan, ForkValue, is_plain
from hpt.trainer.parts import Parts
from hpt.trainer.snapshot import Snapshot

NO_VALUE = ForkValue(-math.inf, 0.0)


def begin(parts: Parts, proposal: Proposal, facts: CycleFacts, batches: list[Any]) -> None:
    """Keep the state with the jump for later, and go on without it. `batches` are the last update's, for the probe."""
    parts.forks.took()
    snapshot = parts.moving.snapshot
    assert snapshot is not None, "a fork starts at the end of a cycle"
    parts.ledger.counters.forks += 1
    parts.ledger.counters.jumps_proposed += 1
    try:
        before = parts.probe.losses(batches)
        coefficients, norm = parts.predict.move(proposal, facts, parts.predictor, snapshot)
        after = parts.probe.losses(batches)
        jumped = _present(parts)
    finally:
        snapshot.restore()
    plan = ForkPlan(
        step=parts.controller.step,
        arm=proposal.arm,
        horizon=proposal.horizon,
        norm_ratio=facts.norm_ratio(norm),
        gain=gain_of(coefficients),
        immediate=(sum(after) - sum(before)) / len(batches),
    )
    parts.moving.fork = Fork(plan, parts.config.fork, jumped, torch_rng_state())
    parts.trajectory.begin_cycle()
    parts.controller.start_cycle()
    parts.ledger.lap("fork")


def observe(parts: Parts, fork: Fork, batches: list[Any], loss: float) -> bool:
    """Show the fork one full step of the first branch; True when that ended the fork, and with it the cycle."""
    if not fork.observe(batches, loss) or not all(is_plain(batch) for batch in batches):
        parts.event("fork_dropped", "the branch's batches cannot be kept; the run goes on without the fork")
        parts.ledger.counters.jumps_rejected += 1
        parts.moving.fork = None
        return False
    if not fork.complete:
        return False
    _settle(parts, fork)
    return True


def _present(parts: Parts) -> Snapshot:
    placement = "cpu" if parts.device.type == "cuda" else "device"
    return Snapshot.take(parts.model, parts.optimizer, parts.scheduler, parts.precision.scaler, placement=placement)


def _settle(parts: Parts, fork: Fork) -> None:
    """Run the other branch on the same batches, keep the better one, learn the value.

    The call is long: it replays all steps of the branch. On any exception the branch without the jump stands.
    """
    parts.moving.fork = None
    counters = parts.ledger.counters
    without, updates = _present(parts), counters.optimizer_updates
    rng = fork.replay_rng()
    try:
        fork.jumped.restore()
        losses = _replay(parts, fork)
    except BaseException:
        without.restore()
        set_torch_rng_state(rng)
        raise
    result = fork.value_of(losses) if len(losses) == len(fork.losses) else NO_VALUE
    kept = result.value > 0.0
    counters.updates_in_losing_branches += counters.optimizer_updates - updates
    counters.jumps_accepted += int(kept)
    counters.jumps_rejected += int(not kept)
    if kept:
        counters.steps_covered_by_jumps += fork.plan.horizon
        parts.moving.steps_since_jump = len(losses)
    else:
        without.restore()
        set_torch_rng_state(rng)
    parts.trajectory.begin_cycle()
    parts.controller.forced_full()
    parts.take_snapshot()
    _tell(parts, fork, result, kept=kept)
    parts.ledger.lap("fork")


def _replay(parts: Parts, fork: Fork) -> list[float]:
    """Full steps on the fork's batches; fewer losses than updates when one was refused."""
    losses: list[float] = []
    for batch in fork.batches:
        outcome = parts.full.run(batch)
        if outcome.updated:
            losses.append(outcome.loss)
        elif outcome.fault is not None:
            break
    parts.full.forget()
    return losses


def _tell(parts: Parts, fork: Fork, result: ForkValue, *, kept: bool) -> None:
    plan, finite = fork.plan, math.isfinite(result.value)
    parts.predictor.judge(
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
    parts.sink(
        ForkRecord(
            step=plan.step,
            num_steps=len(fork.losses),
            immediate=plan.immediate,
            value=result.value,
            value_se=result.value_se,
            kept_jump=kept,
            arm=plan.arm,
        )
    )
