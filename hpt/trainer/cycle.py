"""What happens around the end of a cycle: measure the path, decide whether to jump, jump, and learn what it was worth.

The order of decisions, once a cycle: window and progress (gate), arm and proposal (predictor), confidence (gate), trust
region and probe (PREDICT), verdict (CORRECT), value (fork). Each can only say no.
"""

import dataclasses
import math
from typing import Any

from hpt.learned.facts import CycleFacts, JumpOutcome, gain_of
from hpt.predictors.protocol import Proposal
from hpt.records import JumpRecord
from hpt.trainer import forking, recovery
from hpt.trainer.correct_step import Expected
from hpt.trainer.corrector import undo_factor
from hpt.trainer.parts import Parts
from hpt.trainer.predict_step import Jump
from hpt.trainer.rollout import Rollout
from hpt.trainer.snapshot import Snapshot

KEPT_RECOVERY = 1.2  # a kept jump lifts a shrunken horizon by a fifth


def after_step(parts: Parts, batches: list[Any], loss: float) -> None:
    """After a full step that stands: let the open fork see it, and close the cycle when its K steps are done."""
    if parts.moving.fork is not None and forking.observe(parts, parts.moving.fork, batches, loss):
        return
    if parts.controller.cycle_done:
        _end_cycle(parts, batches)


def _end_cycle(parts: Parts, batches: list[Any]) -> None:
    facts = parts.trajectory.end_cycle(parts.controller.step, parts.config.cycle_steps, parts.progress, parts.lr_frac)
    parts.ledger.lap("trajectory")
    if not math.isfinite(facts.displacement_norm):
        recovery.roll_back(parts, "weights are not finite at the end of a cycle")
        return
    _conclude_jump(parts)
    parts.predictor.catch_up()
    parts.ledger.lap("predictor")
    parts.predictor.end_cycle(facts)
    parts.ledger.lap("learning")
    _assess_health(parts)
    parts.take_snapshot()
    proposal = _proposal(parts, facts)
    if proposal is None:
        parts.trajectory.begin_cycle()
        parts.controller.start_cycle()
    elif parts.forks.is_due(parts.controller.step) and parts.config.predict.mode == "jump":
        forking.begin(parts, proposal, facts, batches)
    else:
        parts.moving.proposal, parts.moving.facts = proposal, facts
        parts.controller.begin_predict()
    parts.ledger.lap("trajectory")


def _proposal(parts: Parts, facts: CycleFacts) -> Proposal | None:
    """The predictor's proposal, if everyone who may say no says yes."""
    objection = parts.gate.end_cycle(facts.progress, facts.lr_frac)
    if objection or not parts.controller.can_predict or parts.moving.fork is not None:
        return None
    limit = max(1, int(parts.config.max_horizon * parts.moving.horizon_factor))
    proposal = parts.predictor.propose(facts, limit)
    parts.ledger.lap("predictor")
    if proposal is None:
        return None
    parts.moving.confidence = proposal.confidence
    return proposal if parts.gate.admits(proposal.confidence) else None


def _conclude_jump(parts: Parts) -> None:
    """The cycle after a kept jump is over: everyone learns how it went."""
    watched = parts.correct.watched
    if watched is None:
        return
    rise = parts.correct.rise() if parts.correct.num_seen else 0.0
    seen = parts.correct.settled()
    outcome = parts.correct.close(rolled_back=False)
    if outcome is None or seen is None:
        return
    parts.gate.accepted()
    parts.rise.observe(rise)
    parts.moving.horizon_factor = min(1.0, parts.moving.horizon_factor * KEPT_RECOVERY)
    if watched.features is not None and parts.config.correct.use_residuals:
        residual = (seen - watched.raw_far_mean) / watched.far_scale
        parts.corrector.observe(watched.features, residual, watched.step, watched.horizon, was_jump=True)
    parts.predictor.judge(outcome)


def _assess_health(parts: Parts) -> None:
    """Recommendations are recorded when they begin; they are carried out only when switched on."""
    health = parts.health.assess()
    said = [advice.why for advice in health.recommendations]
    for advice in health.recommendations:
        if advice.why not in parts.moving.advised:
            parts.event("recommendation", advice.why, what=str(advice.what), factor=advice.factor)
        if parts.config.tuning.actions:
            recovery.carry_out(parts, advice)
    parts.moving.advised = said


def predict(parts: Parts, batch: Any) -> float:
    """The PREDICT call: carry out the waiting proposal; returns the loss on this batch afterwards."""
    proposal, facts = parts.moving.proposal, parts.moving.facts
    assert proposal is not None, "PREDICT without a proposal"
    assert facts is not None, "PREDICT without a cycle"
    snapshot = parts.moving.snapshot or parts.take_snapshot()
    if parts.config.predict.mode == "rollout":
        return _roll_out(parts, batch, proposal, facts, snapshot)
    jump = parts.predict.run(batch, proposal, facts, parts.predictor, snapshot)
    _settle_jump(parts, jump)
    return jump.loss


def _settle_jump(parts: Parts, jump: Jump) -> None:
    """Keep or reject: count it, tell everyone, and start the next cycle from where the weights are now."""
    counters, moving = parts.ledger.counters, parts.moving
    moving.proposal = moving.facts = None
    expected = _forecasts(parts)
    near = expected.near
    parts.trajectory.begin_cycle()
    if jump.kept:
        counters.jumps_accepted += 1
        counters.steps_covered_by_jumps += jump.proposal.horizon
        moving.steps_since_jump = 0
        parts.correct.open(parts.controller.step, jump, expected, parts.rise.bound(near.mean))
        parts.controller.jump_kept()
        _advance_schedule(parts, jump.proposal.horizon)
    else:
        counters.jumps_rejected += 1
        parts.gate.rejected()
        parts.predictor.judge(_rejected(parts, jump))
        parts.controller.jump_rejected()
    record_jump(parts, jump, "accepted" if jump.kept else "rejected", near.mean)
    parts.ledger.lap("control")


def _forecasts(parts: Parts) -> Expected:
    """No-jump forecasts C and K steps ahead, corrected by what earlier ones got wrong."""
    near = parts.forecast(parts.config.correct_steps)
    far = parts.forecast(parts.config.cycle_steps)
    features = parts.predictor.features()
    if features is None or not parts.config.correct.use_residuals:
        return Expected(near, far, far.mean, None)
    shift = parts.corrector.correct(features)
    corrected = dataclasses.replace(far, mean=far.mean + shift * far.scale)
    return Expected(near, corrected, far.mean, tuple(features.tolist()))


def _rejected(parts: Parts, jump: Jump) -> JumpOutcome:
    change = None if jump.loss_before is None else jump.loss_after - jump.loss_before
    return JumpOutcome(
        step=parts.controller.step,
        arm=jump.proposal.arm,
        kept=False,
        rolled_back=False,
        norm_ratio=jump.norm_ratio,
        gain=gain_of(jump.coefficients),
        loss_change=change,
        good=False,
    )


def record_jump(parts: Parts, jump: Jump, verdict: str, forecast_loss: float | None) -> None:
    """One record for a proposal that reached the weights."""
    parts.sink(
        JumpRecord(
            step=parts.controller.step,
            call=parts.moving.num_calls,
            predictor=jump.proposal.predictor,
            horizon=jump.proposal.horizon,
            norm=jump.norm,
            norm_ratio=jump.norm_ratio,
            coefficients=jump.coefficients,
            loss_before=jump.loss_before,
            loss_after=jump.loss_after,
            forecast_loss=forecast_loss,
            confidence=jump.proposal.confidence,
            verdict=verdict,
            reason=jump.reason,
        )
    )


def _advance_schedule(parts: Parts, horizon: int) -> None:
    if parts.config.predict.advance_schedule and parts.scheduler is not None:
        for _ in range(horizon):
            parts.scheduler.step()


def _roll_out(parts: Parts, batch: Any, proposal: Proposal, facts: CycleFacts, snapshot: Snapshot) -> float:
    """One call of a roll-out: stand at the next share of the delta, measure, and end it when it is due."""
    rollout = parts.moving.rollout
    if rollout is None:
        expected = parts.forecast(1)
        bound = expected.mean + parts.rise.bound(expected.mean) + parts.config.probe.band_sigmas * expected.scale
        rollout = parts.moving.rollout = Rollout.begin(proposal.horizon, expected.mean, bound)
        parts.ledger.counters.jumps_proposed += 1
    share = rollout.advance()
    try:
        snapshot.restore()
        scaled, norm = parts.predict.move(proposal, facts, parts.predictor, snapshot, share)
        loss = parts.probe.losses([batch])[0]
    except BaseException:
        parts.moving.rollout = None
        snapshot.restore()
        raise
    parts.ledger.lap("probe")
    reason = rollout.observe(loss, parts.config.predict.correction_interval)
    if reason:
        snapshot.restore()
    if reason or rollout.done:
        parts.moving.rollout = None
        ratio = facts.norm_ratio(norm)
        _settle_jump(
            parts,
            Jump(
                proposal,
                scaled,
                norm,
                ratio,
                loss,
                rollout.expected,
                loss,
                kept=not reason,
                reason=reason,
            ),
        )
    return loss


def undo_reversed(parts: Parts) -> None:
    """After CORRECT: undo the part of the jump that the steps since have reversed, once."""
    snapshot = parts.moving.snapshot
    assert snapshot is not None, "a kept jump has a snapshot"
    dot, square = parts.trajectory.since_jump(snapshot.kept)
    factor = undo_factor(dot, square)
    if factor > 0.0:
        parts.trajectory.step_back(snapshot.kept, factor)
        parts.event("jump_partly_undone", "steps after the jump reversed part of it", factor=factor)
    parts.ledger.lap("jump")
