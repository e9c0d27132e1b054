"""A jump, from the proposal at the end of a cycle to its record: what the loop's owner does not decide."""

import dataclasses
from collections.abc import Callable, Sequence

from hpt.control.correct import WatchedJump
from hpt.jump.outer import JumpResult
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.predictors.protocol import ForkRequest, Proposal
from hpt.records import JumpRecord
from hpt.trainer.engine import Engine
from hpt.trainer.ledger import FORWARD_SHARE

PROBE_GRACE = 2.0  # full-step equivalents that may be spent before the run is long enough for a share of it


def ask(c: Engine, stats: CycleStats) -> Proposal | ForkRequest | None:
    """The predictor's proposal, if everyone who may say no says yes, or its wish for a fork."""
    if c.jumps_are_off or not c.gate.opens(stats.progress, stats.lr_frac) or not c.controller.can_predict:
        return None
    limit = max(1, int(c.config.max_horizon * c.state.horizon_factor))
    proposal = _agreed(c, c.predictor.propose(stats, c.trend, limit))
    c.ledger.lap("predictor")
    c.tell_decision(stats.step)
    if proposal is None or isinstance(proposal, ForkRequest):
        return proposal
    c.state.confidence = proposal.confidence
    return proposal


def _agreed(c: Engine, mine: Proposal | ForkRequest | None) -> Proposal | ForkRequest | None:
    """The first process's answer in all of them; a predictor that failed in one is retired in all."""
    if c.together.are_alike((mine, c.predictor.failed)):
        return mine
    answers = c.together.all_of((mine, c.predictor.failed))
    if any(failed for _, failed in answers):
        if not c.predictor.failed:
            c.predictor.retire()
            c.event("predictor_failed", "the predictor failed in another process; training goes on without prediction")
        return None
    if any(answer != answers[0] for answer in answers):
        c.event_once(
            "ranks_disagreed",
            "processes came to different proposals, and all take the first one's; their machines or versions differ",
        )
    return answers[0][0]


def make(c: Engine, measure: Callable[[], Sequence[float]] | None, *, paired: bool) -> JumpResult:
    """Carry out the waiting proposal, and begin the next cycle from where the weights are then.

    Args:
        c: the run's engine, whose snapshot is of the last full step.
        measure: losses on fixed batches at the present weights; None: the jump is kept unseen.
        paired: measure before it, too.

    Raises:
        Exception: whatever `measure` raises; the weights are then as before the call.
    """
    proposal, stats = c.state.proposal, c.state.stats
    assert proposal is not None, "a jump without a proposal"
    assert stats is not None, "a jump without a cycle"
    result = c.outer.jump(proposal.delta, stats, measure, paired=paired)
    c.ledger.lap("snapshot" if not result.kept else "trajectory")
    c.ledger.counters.factor_flops += result.factor_flops
    _settle(c, proposal, result)
    return result


def affords_pair(c: Engine) -> bool:
    """Whether a paired probe stays inside the budget; the one forward of each jump that reports a loss is free."""
    counters, config = c.ledger.counters, c.config.probe
    spent = FORWARD_SHARE * (counters.probe_forwards - counters.jumps_proposed) + counters.updates_rolled_back
    pair = FORWARD_SHARE * (2 * config.batches - 1)
    return spent + pair <= PROBE_GRACE + config.budget_frac * counters.full_step_equivalents


def _settle(c: Engine, proposal: Proposal, result: JumpResult) -> None:
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
    _record(c, proposal, result, watched.near.mean if c.has_losses else None)
    c.ledger.lap("control")


def _watched(c: Engine, proposal: Proposal, result: JumpResult) -> WatchedJump:
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


def _record(c: Engine, proposal: Proposal, result: JumpResult, forecast_loss: float | None) -> None:
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
