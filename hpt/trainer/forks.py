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
from hpt.memory.manager import is_out_of_memory
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.predictors.protocol import ForkOutcome, ForkRequest, MeasuredValue
from hpt.records import ForkRecord
from hpt.trainer.codec import can_hold
from hpt.trainer.components import Components
from hpt.trainer.fork import Branch, Fork, ForkPlan, PathCopy, Place, weights_of
from hpt.trainer.full_step import SCALE_LOWERED, FullOutcome
from hpt.trainer.pending import drained, read, stand

_NOT_KEPT = "its batches are too large, or of a type that cannot be kept"
MAX_SCALE_TRIES = 24  # halvings of the loss scale before a branch counts as broken


def begin(c: Components, request: ForkRequest, stats: CycleStats) -> None:
    """Keep the present state for the other branches, and go on without jumps."""
    if c.state.retry_left:
        c.event("fork_dropped", "no fork while steps are retried at a lowered rate, which ends inside it")
    else:
        c.ledger.counters.forks += 1
        plan = ForkPlan(c.controller.step, c.config.cycle_steps, request, stats)
        c.state.fork = Fork(plan, _here(c), stream_states(c.full.reach.sources))
    c.outer.begin_cycle()
    c.controller.start_cycle()
    c.ledger.lap("fork")


def observe(c: Components, fork: Fork, batches: Sequence[KeptBatch]) -> bool:
    """Show the fork one full step of the first branch, and settle it when that was its last.

    Returns False when its steps, read now, turned out not finite: they are to be undone, and the fork with them.
    """
    fits = fork.add(batches) and can_hold([batch.value for batch in batches])
    reason = c.probe.objection(fork.batches) or ("" if fits else _NOT_KEPT)
    if c.together.are_several and (fork.complete or c.controller.cycle_done):
        (is_anyones,) = c.together.any([bool(reason)])
        reason = reason or (_NOT_KEPT if is_anyones else "")
    elif c.together.are_several:
        reason = ""  # told at the end of the cycle, to all processes at once
    if reason:
        drop(c, reason)
    elif fork.complete or c.controller.cycle_done:
        if not read(c).is_finite:
            return False
        if fork.complete:
            _settle(c, fork)
        else:
            _end_cycle(c, fork.plan, fork.num_steps)
            c.outer.begin_cycle()
            c.controller.start_cycle()
    return True


def drop(c: Components, reason: str) -> None:
    """Give the open fork up; the branch without jumps is an ordinary run, and its steps so far stand."""
    c.event("fork_dropped", f"the run goes on without the fork: {reason}")
    c.state.fork = None
    _stand(c)


def _stand(c: Components) -> None:
    """The branch that the run goes on from stands, unless it is not finite: then the next cycle's end undoes it."""
    steps, trend = read(c), c.trend.copy()
    if steps.is_finite:
        stand(c, steps, trend, trend.observe(steps.loss))
    c.outer.begin_cycle()
    c.controller.forced_full()


def _here(c: Components) -> Place:
    return Place(c.present(), PathCopy.take(c.outer.trajectory))


def _go(c: Components, place: Place) -> None:
    place.training.restore()
    place.path.restore(c.outer.trajectory)


def _end_cycle(c: Components, plan: ForkPlan, num_steps: int) -> CycleStats:
    """A cycle of a branch is over, `num_steps` after the fork: its displacement goes into the trend."""
    step, total = plan.step + num_steps, c.config.total_steps
    progress, lr_frac = None if total is None else step / total, c.history.lr_frac(c.optimizer.lr)
    return c.outer.trajectory.end_cycle(step, plan.cycle_steps, progress, lr_frac)


def _settle(c: Components, fork: Fork) -> None:
    """Run the other branches on the same batches, learn what they were worth, and go on with one.

    The call is long: it replays all steps of every policy. On any exception the branch without jumps stands.
    """
    c.state.fork = None
    request = fork.plan.request
    losses, without = read(c).loss[-fork.num_steps :].tolist(), _here(c)
    branches = _branches(c, fork, without)
    if branches is None:
        return
    values = {policy: _value(losses, branch.rows[:, 0].tolist(), request) for policy, branch in branches.items()}
    chosen = c.predictor.settle(ForkOutcome(fork.plan.step, fork.plan.stats, values))
    taken = branches.get(chosen)
    if taken is None or values[chosen].is_broken or not np.isfinite(taken.rows).all():
        _go(c, without)
        chosen = NONE
    else:
        _go(c, taken.end)
        c.ledger.counters.jumps_proposed += request.num_jumps
        c.ledger.counters.jumps_accepted += request.num_jumps
        c.history.replace(taken.rows, fork.plan.ages())
    _stand(c)
    for policy, value in values.items():
        c.sink(_record(fork.plan, policy, value, goes_on=policy == chosen))
    c.tell_decision(fork.plan.step)
    c.ledger.lap("fork")


def _branches(c: Components, fork: Fork, without: Place) -> dict[str, Branch] | None:
    """A branch for each policy; None if one raised, whereupon the run is back where it was.

    The random streams go on from where the first branch left them, since the caller's data pipeline draws from them.
    """
    counters, streams = c.ledger.counters, stream_states(c.full.reach.sources)
    updates = counters.optimizer_updates
    try:
        return {policy: _branch(c, fork, policy) for policy in fork.plan.request.policies}
    except BaseException as error:
        c.readings.clear()
        c.full.forget()
        _go(c, without)
        drop(c, f"a branch raised {type(error).__name__}: {error}")
        if is_out_of_memory(error) or not isinstance(error, Exception):
            raise
        return None
    finally:
        counters.updates_in_losing_branches += counters.optimizer_updates - updates
        set_stream_states(streams, c.full.reach.sources)


def _value(without: Sequence[float], jumped: Sequence[float], request: ForkRequest) -> MeasuredValue:
    """What the steps of two branches say; nothing where one has fewer of them."""
    whole = len(without) == len(jumped)
    gains = tuple(mine - theirs for mine, theirs in zip(without, jumped, strict=True)) if whole else ()
    return MeasuredValue(gains, request.num_jumps, request.settle_steps)


def _record(plan: ForkPlan, policy: str, value: MeasuredValue, *, goes_on: bool) -> ForkRecord:
    return ForkRecord(
        step=plan.step,
        num_steps=plan.num_steps,
        num_jumps=plan.request.num_jumps,
        policy=policy,
        value=value.value,
        value_se=value.value_se,
        goes_on=goes_on,
    )


def _branch(c: Components, fork: Fork, policy: str) -> Branch:
    """Full steps on the fork's batches with a policy's jumps; fewer rows than steps when an update was refused."""
    _go(c, fork.start)
    set_stream_states(fork.rng, c.full.reach.sources)
    plan, stats, parts = fork.plan, fork.plan.stats, c.config.update.accumulation_steps
    _jump(c, policy, stats)
    c.outer.begin_cycle()
    for done in range(1, fork.num_steps + 1):
        outcome = _update(c, fork.batches[(done - 1) * parts : done * parts])
        if outcome.row is None:
            break
        c.readings.add(outcome.row)
        if done % plan.cycle_steps == 0 and done < plan.num_steps:
            stats = _end_cycle(c, plan, done)
            if not math.isfinite(stats.displacement_norm):
                break
            if done // plan.cycle_steps < plan.request.num_jumps:
                _jump(c, policy, stats)
            c.outer.begin_cycle()
    c.full.forget()
    return Branch(_here(c), drained(c))


def _update(c: Components, batches: Sequence[KeptBatch]) -> FullOutcome:
    """One update; again while the loss scale is lowered, where the first branch had further batches to get over it."""
    outcome = [c.full.run(batch.again()) for batch in batches][-1]
    for _ in range(MAX_SCALE_TRIES):
        if outcome.fault != SCALE_LOWERED:
            break
        outcome = [c.full.run(batch.again()) for batch in batches][-1]
    return outcome


def _jump(c: Components, policy: str, stats: CycleStats) -> None:
    """At the end of a branch's cycle; no probe, since the branch itself will tell."""
    delta = c.predictor.policy_delta(policy, stats)
    made = c.outer.move(delta, stats, weights_of(c.outer.trajectory))
    c.ledger.counters.factor_flops += made.factor_flops
