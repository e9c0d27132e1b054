"""What happens around the end of a cycle: read and judge its steps, measure the path, decide whether to jump, jump.

    after_step   count it; CORRECT's verdict when it falls; broken weights; a fork's end; the end of the cycle
    _end_cycle   read -> finite? -> alarms, broken weights? -> displacement -> the steps stand -> observers -> proposal
    predict      the PREDICT call: probe, jump, probe, keep or undo; the next cycle begins

The order of decisions, once a cycle: window and progress (gate), choice by value and proposal, or a fork (predictor),
trust region and probe (outer step), verdict (CORRECT). Each can only say no.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from hpt.control.correct import WatchedJump
from hpt.control.divergence import JudgedSteps, Level, StepAlarm
from hpt.history import FloatArray, StepStats
from hpt.jump.batch import BatchSpent, KeptBatch
from hpt.jump.outer import JumpResult
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.loss_trend import TrendPath
from hpt.predictors.protocol import ForkRequest, Proposal
from hpt.records import JumpRecord
from hpt.trainer import forks, recovery
from hpt.trainer.components import Components
from hpt.trainer.ledger import FORWARD_SHARE
from hpt.trainer.paired_test import examine, keep
from hpt.trainer.pending import losses_since_jump, read, read_with, stand

MAX_LEAP = 30.0  # |displacement| over |trend|: 1 on a straight path, 3 in pure noise
PROBE_GRACE = 2.0  # full-step equivalents that may be spent before the run is long enough for a share of it


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
        recovery.look_whether_jump_survived(c)
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
    c.correct.close(recovery.NO_LOSSES, rolled_back=False)  # a jump without a step since
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
        c.correct.close(recovery.NO_LOSSES, rolled_back=False)  # what comes now tells nothing of the jump
        return False
    recovery.roll_back_jump(c, f"loss left the forecast's band by {excess:.4g}; {verdict.text}")
    return True


def _watch(c: Components, batches: Sequence[KeptBatch]) -> bool:
    """Whether the weights are to be questioned after this step, as far as its loss is known by now."""
    if not c.config.divergence.enabled:
        return False
    loss = c.readings.newest_loss
    if batches:
        keep(c, batches[-1], is_unusual=None if loss is None else c.monitor.is_unusual(loss))
    return loss is not None and not c.correct.in_doubt and c.monitor.watch(loss)


def _end_cycle(c: Components, batches: Sequence[KeptBatch], *, is_followed: bool) -> None:
    steps, grams = read_with(c, c.outer.trajectory.measure() if is_followed else ())
    c.ledger.lap("trajectory")
    if not steps.is_finite:
        recovery.undo_cycle(c, "loss or gradient was not finite in the cycle")
        return
    trend = c.trend.copy()
    path = trend.observe(steps.loss)
    alarms = _alarms(c, steps, path) if is_followed else []
    signal = _critical(c, alarms, grams) if is_followed else ""
    if signal and recovery.question(c, batches, signal):
        return
    _tell(c, alarms)
    c.ledger.lap("control")
    if not is_followed or any(alarm.level >= Level.WARNING for alarm in alarms):
        c.outer.begin_cycle()  # what a doubtful cycle moved is not followed
        stand(c, steps, trend, path)
        c.controller.forced_full()
        return
    lr_frac = c.history.lr_frac(c.full.lr)
    stats = c.outer.trajectory.end_cycle(c.controller.step, c.config.cycle_steps, c.progress, lr_frac, grams)
    c.ledger.lap("trajectory")
    if not math.isfinite(stats.displacement_norm):
        recovery.roll_back(c, "weights are not finite at the end of a cycle")
        return
    stand(c, steps, trend, path, stats)
    proposal = _proposal(c, stats)
    if proposal is None:
        c.outer.begin_cycle()
        c.controller.start_cycle()
    elif isinstance(proposal, ForkRequest):
        forks.begin(c, proposal, stats)
    else:
        c.state.proposal, c.state.stats = proposal, stats
        c.controller.begin_predict()
    c.ledger.lap("trajectory")


def _alarms(c: Components, steps: StepStats, path: TrendPath) -> list[StepAlarm]:
    """Alarms that count: while a jump is in doubt its own forecast band is the judge."""
    judged = JudgedSteps(steps.loss, steps.grad_norm, path.next_mean, path.next_scale)
    alarms = c.monitor.judge(c.history.past_losses, c.history.past_grad_norms, judged)
    first = len(steps) - c.correct.num_seen
    last_in_doubt = first + c.config.correct_steps - 1 if c.correct.jump is not None else first
    in_doubt = range(first, last_in_doubt)
    return [alarm for alarm in alarms if alarm.place not in in_doubt] if c.config.divergence.enabled else []


def _critical(c: Components, alarms: list[StepAlarm], grams: FloatArray) -> str:
    """What speaks against the weights before they become the snapshot; a high loss in the last steps does, too."""
    if not c.config.divergence.enabled:
        return ""
    if any(alarm.level is Level.CRITICAL for alarm in alarms) or c.monitor.in_doubt:
        return "high losses"
    leap = 0.0 if c.monitor.explains else c.outer.trajectory.leap(grams)
    return f"a displacement {leap:.3g} times the trend" if leap > MAX_LEAP else ""


def _tell(c: Components, alarms: list[StepAlarm]) -> None:
    """Record a cycle's warnings, once; a lesser alarm shortens the horizon."""
    for alarm in alarms:
        if alarm.level is Level.CAUTION:
            c.state.horizon_factor = max(recovery.MIN_HORIZON_FACTOR, c.state.horizon_factor * 0.5)
    warned = [alarm for alarm in alarms if alarm.level >= Level.WARNING]
    if warned:
        names = dict.fromkeys(signal.name for alarm in warned for signal in alarm.signals)
        c.event("divergence", f"warning: {', '.join(names)}; the cycle is not followed", num_steps=float(len(warned)))


def _proposal(c: Components, stats: CycleStats) -> Proposal | ForkRequest | None:
    """The predictor's proposal, if everyone who may say no says yes, or its wish for a fork."""
    if c.probe.is_off or not c.gate.opens(stats.progress, stats.lr_frac) or not c.controller.can_predict:
        return None
    limit = max(1, int(c.config.max_horizon * c.state.horizon_factor))
    proposal = c.predictor.propose(stats, c.trend, limit)
    c.ledger.lap("predictor")
    c.tell_decision(stats.step)
    if proposal is None or isinstance(proposal, ForkRequest):
        return proposal
    c.state.confidence = proposal.confidence
    return proposal


def predict(c: Components, batch: Any) -> JumpResult:
    """The PREDICT call: carry out the waiting proposal, and begin the next cycle from where the weights are then.

    Raises:
        Exception: whatever the user's loss function raises; the weights are then as before the call.
    """
    proposal, stats = c.state.proposal, c.state.stats
    assert proposal is not None, "PREDICT without a proposal"
    assert stats is not None, "PREDICT without a cycle"
    if c.outer.snapshot is None:
        c.outer.take_snapshot()
    c.ledger.counters.jumps_proposed += 1
    paired = _affords_pair(c)
    batches = c.probe.batches(batch, paired=paired)
    if reason := c.probe.objection(batches):
        raise BatchSpent(reason)
    result = c.outer.jump(proposal.delta, stats, lambda: c.measure(batches), paired=paired)
    c.ledger.lap("snapshot" if not result.kept else "trajectory")
    c.ledger.counters.factor_flops += result.factor_flops
    _settle_jump(c, proposal, result)
    return result


def _affords_pair(c: Components) -> bool:
    """Whether a paired probe stays inside the budget; the one forward of each jump that reports a loss is free."""
    counters, config = c.ledger.counters, c.config.probe
    spent = FORWARD_SHARE * (counters.probe_forwards - counters.jumps_proposed) + counters.updates_rolled_back
    pair = FORWARD_SHARE * (2 * config.batches - 1)
    return spent + pair <= PROBE_GRACE + config.budget_frac * counters.full_step_equivalents


def _settle_jump(c: Components, proposal: Proposal, result: JumpResult) -> None:
    """Count the jump and tell everyone; a kept one is watched from now on."""
    counters, state = c.ledger.counters, c.state
    state.proposal = state.stats = None
    watched = _watched(c, proposal, result)
    if result.kept:
        counters.jumps_accepted += 1
        counters.steps_covered_by_jumps += proposal.horizon
        c.history.jumped()
        c.correct.open(watched)
        c.controller.jump_kept()
    else:
        counters.jumps_rejected += 1
        c.gate.judge(kept=False)
        c.predictor.judge(_rejected(watched))
        c.controller.jump_rejected()
    _record(c, proposal, result, watched.near.mean)
    c.ledger.lap("control")


def _watched(c: Components, proposal: Proposal, result: JumpResult) -> WatchedJump:
    """The jump, and no-jump forecasts C and K steps ahead, the latter corrected by what earlier ones got wrong."""
    near, far = c.forecast(c.config.correct_steps), c.forecast(c.config.cycle_steps)
    features = c.predictor.features()
    shift = 0.0 if features is None else c.residuals.expected(features)
    return WatchedJump(
        step=c.controller.step,
        arm=proposal.arm,
        horizon=proposal.horizon,
        norm_ratio=result.norm_ratio,
        gain=result.delta.gain,
        loss_change=result.loss_change,
        near=near,
        far=dataclasses.replace(far, mean=far.mean + shift * far.scale),
        uncorrected_mean=far.mean,
        allowance=c.outer.bound.at(near.mean),
        features=None if features is None else tuple(features.tolist()),
    )


def _rejected(jump: WatchedJump) -> JumpOutcome:
    return JumpOutcome(
        step=jump.step,
        arm=jump.arm,
        kept=False,
        rolled_back=False,
        norm_ratio=jump.norm_ratio,
        gain=jump.gain,
        loss_change=jump.loss_change,
        good=False,
    )


def _record(c: Components, proposal: Proposal, result: JumpResult, forecast_loss: float) -> None:
    """One record for a proposal that reached the weights."""
    delta = result.delta
    c.sink(
        JumpRecord(
            step=c.controller.step,
            call=c.state.num_calls,
            predictor=proposal.predictor,
            horizon=proposal.horizon,
            norm=result.norm,
            norm_ratio=result.norm_ratio,
            pull_back=delta.pull_back,
            gain=delta.gain,
            scale=delta.scale,
            orthogonal=delta.orthogonal,
            keeps_norm=delta.keeps_norm,
            loss_before=result.loss_before,
            loss_after=result.loss_after,
            forecast_loss=forecast_loss,
            confidence=proposal.confidence,
            verdict="accepted" if result.kept else "rejected",
            reason=result.reason,
        )
    )
