"""Opening, following and settling forks: see `fork` for what one is.

While a fork is open its steps stay pending until it is settled, so that only the branch that goes on is ever
remembered. Cycles end inside it, for the trend's sake, but nobody is asked for a proposal.
"""

import math
from collections.abc import Sequence

import numpy as np

from hpt.jump.batch import KeptBatch
from hpt.jump.policy import NONE
from hpt.jump.stats import CycleStats
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.predictors.protocol import ForkOutcome, ForkRequest, MeasuredValue
from hpt.records import ForkRecord
from hpt.trainer.codec import can_hold
from hpt.trainer.components import Components
from hpt.trainer.fork import Branch, Fork, ForkPlan, PathCopy, Place, weights_of
from hpt.trainer.full_step import FullOutcome
from hpt.trainer.pending import read, stand


def begin(c: Components, request: ForkRequest, stats: CycleStats) -> None:
    """Keep the present state for the other branches, and go on without jumps."""
    c.ledger.counters.forks += 1
    plan = ForkPlan(c.controller.step, c.config.cycle_steps, request, stats)
    c.state.fork = Fork(plan, _here(c), stream_states(c.full.reach.sources))
    c.outer.begin_cycle()
    c.controller.start_cycle()
    c.ledger.lap("fork")


def observe(c: Components, fork: Fork, batches: Sequence[KeptBatch]) -> None:
    """Show the fork one full step of the first branch, and settle it when that was its last."""
    fits = fork.add(batches) and can_hold([batch.value for batch in batches])
    reason = c.probe.objection(fork.batches if fork.complete else batches)
    if reason or not fits:
        drop(c, reason or "its batches are too large, or of a type that cannot be kept")
    elif fork.complete:
        _settle(c, fork)
    elif c.controller.cycle_done:
        _end_cycle(c, fork.plan, fork.num_steps)
        c.controller.start_cycle()


def drop(c: Components, reason: str) -> None:
    """Give the open fork up; the branch without jumps is an ordinary run."""
    c.event("fork_dropped", f"the run goes on without the fork: {reason}")
    c.state.fork = None
    c.outer.begin_cycle()
    c.controller.forced_full()


def _here(c: Components) -> Place:
    return Place(c.present(), PathCopy.take(c.outer.trajectory))


def _go(c: Components, place: Place) -> None:
    place.training.restore()
    place.path.restore(c.outer.trajectory)


def _end_cycle(c: Components, plan: ForkPlan, num_steps: int) -> CycleStats:
    """A cycle of a branch is over, `num_steps` after the fork: into the trend, and the next one begins."""
    step, total = plan.step + num_steps, c.config.total_steps
    progress, lr_frac = None if total is None else step / total, c.history.lr_frac(c.full.lr)
    stats = c.outer.trajectory.end_cycle(step, plan.cycle_steps, progress, lr_frac)
    c.outer.begin_cycle()
    return stats


def _settle(c: Components, fork: Fork) -> None:
    """Run the other branches on the same batches, learn what they were worth, and go on with one.

    The call is long: it replays all steps of every policy. On any exception the branch without jumps stands. The random
    streams go on from where the first branch left them, since the caller's data pipeline draws from them, too.
    """
    c.state.fork = None
    counters, plan = c.ledger.counters, fork.plan
    losses = read(c).loss[-fork.num_steps :].tolist()
    without, updates = _here(c), counters.optimizer_updates
    streams = stream_states(c.full.reach.sources)
    try:
        branches = {policy: _branch(c, fork, policy) for policy in plan.request.policies}
    except BaseException:
        c.readings.clear()
        _go(c, without)
        raise
    finally:
        set_stream_states(streams, c.full.reach.sources)
    counters.updates_in_losing_branches += counters.optimizer_updates - updates
    values = {policy: _value(losses, branch.rows[:, 0].tolist(), plan.request) for policy, branch in branches.items()}
    chosen = c.predictor.settle(ForkOutcome(plan.step, plan.stats, values))
    taken = branches.get(chosen)
    if taken is None or len(taken.rows) < fork.num_steps or not np.isfinite(taken.rows).all():
        _go(c, without)
        chosen = NONE
    else:
        _go(c, taken.end)
        counters.jumps_proposed += plan.request.num_jumps
        counters.jumps_accepted += plan.request.num_jumps
        c.history.replace(taken.rows, plan.ages())
    c.outer.begin_cycle()
    c.controller.forced_full()
    steps, trend = c.history.pending(), c.trend.copy()
    stand(c, steps, trend, trend.observe(steps.loss))
    for policy, value in values.items():
        c.sink(
            ForkRecord(
                step=plan.step,
                num_steps=fork.num_steps,
                num_jumps=plan.request.num_jumps,
                policy=policy,
                value=value.value,
                value_se=value.value_se,
                goes_on=policy == chosen,
            )
        )
    decision = c.predictor.decision()
    if decision is not None and decision.step == plan.step:
        c.sink(decision)
    c.ledger.lap("fork")


def _value(without: Sequence[float], jumped: Sequence[float], request: ForkRequest) -> MeasuredValue:
    """What the steps of two branches say; nothing where one has fewer of them."""
    whole = len(without) == len(jumped)
    gains = tuple(mine - theirs for mine, theirs in zip(without, jumped, strict=True)) if whole else ()
    return MeasuredValue(gains, request.num_jumps, request.settle_steps)


def _branch(c: Components, fork: Fork, policy: str) -> Branch:
    """Full steps on the fork's batches with a policy's jumps; fewer rows than steps when an update was refused."""
    _go(c, fork.start)
    set_stream_states(fork.rng, c.full.reach.sources)
    stats, done = fork.plan.stats, 0
    _jump(c, policy, stats)
    for batch in fork.batches:
        outcome: FullOutcome = c.full.run(batch.again())
        if outcome.fault is not None:
            break
        if not outcome.updated or outcome.row is None:
            continue
        c.readings.add(outcome.row)
        done += 1
        if done % fork.plan.cycle_steps == 0 and done < fork.plan.num_steps:
            stats = _end_cycle(c, fork.plan, done)
            if not math.isfinite(stats.displacement_norm):
                break
            if done // fork.plan.cycle_steps < fork.plan.request.num_jumps:
                _jump(c, policy, stats)
    c.full.forget()
    return Branch(_here(c), c.readings.drain()[0])


def _jump(c: Components, policy: str, stats: CycleStats) -> None:
    """At the end of a branch's cycle; no probe, since the branch itself will tell."""
    delta = c.predictor.policy_delta(policy, stats)
    made = c.outer.move(delta, stats, weights_of(c.outer.trajectory))
    c.ledger.counters.factor_flops += made.factor_flops
    c.outer.begin_cycle()
