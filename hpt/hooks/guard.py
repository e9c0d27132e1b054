"""What undoes a jump in a loop of somebody else's: gradients that blow up, numbers not finite, the host's probe."""

import numpy as np

from hpt.control.divergence import EXPLOSION_RATIO
from hpt.hooks.hosted import HostedRun
from hpt.trainer.pending import losses_since_jump, read
from hpt.trainer.rollback import NO_LOSSES, roll_back_jump

MIN_NORMS = 32  # past gradient norms; the median of fewer is too uncertain to call a multiple of it a blow-up


def verdict_falls_against_jump(run: HostedRun) -> bool:
    """What the first steps after a jump say against it is reason enough to undo it, and them."""
    if not run.can_undo:
        return False
    steps = read(run)
    since = len(steps) - run.correct.num_seen
    losses, norms = losses_since_jump(run, steps), steps.grad_norm[since:]
    reason = ""
    if not np.isfinite(norms).all() or (run.has_losses and not np.isfinite(losses).all()):
        reason = "loss or gradient was not finite after the jump"
    elif len(past := run.history.past_grad_norms) >= MIN_NORMS and norms.max() > EXPLOSION_RATIO * np.median(past):
        reason = f"the gradient norm rose to {norms.max():.4g} after the jump, its median was {np.median(past):.4g}"
    elif run.has_losses and run.host_probe is not None:
        reason = _objection_of_probe(run, run.correct.excess(losses))
    elif run.has_losses and (usual := run.monitor.usual) is not None:
        # A loop that clips hides a blow-up from the norms, which are read after the step. Without a paired test the
        # loss must leave the forecast's band by as much as other weights would have to do better in one.
        level, excess = float(losses.mean()), run.correct.excess(losses)
        if excess > usual.broken_rise(level):
            reason = f"the loss rose to {level:.4g} after the jump, beyond the forecast's band by {excess:.4g}"
    if reason:
        roll_back_jump(run, reason)
    return bool(reason)


def _objection_of_probe(run: HostedRun, excess: float) -> str:
    """Losses left the forecast's band: whether the host's probe says that it was the jump's doing."""
    snapshot = run.outer.snapshot
    if excess <= 0.0 or run.jumps_are_off or snapshot is None or not snapshot.is_whole:
        return ""
    try:
        (now,) = run.measure()
        with snapshot.exchanged():
            (before,) = run.measure()
    except Exception as error:  # noqa: BLE001 (whatever the host's probe raises)
        probe_failed(run, error)
        return ""
    if not run.correct.is_to_blame(now, before):
        return ""
    return f"loss left the forecast's band by {excess:.4g}; probed {now:.4g} now, {before:.4g} before the jump"


def not_finite(run: HostedRun) -> None:
    """Undo the jump of this cycle if there was one; else it is the host's affair, and nothing of ours goes on."""
    if run.can_undo:
        roll_back_jump(run, "loss or gradient was not finite in the cycle after the jump")
        return
    run.correct.close(NO_LOSSES, rolled_back=False)
    run.event_once("not_finite", "losses, gradients or weights are not finite; hpt leaves them to your loop")
    run.history.drop()
    run.outer.begin_cycle()
    run.controller.forced_full()


def probe_failed(run: HostedRun, error: Exception) -> None:
    """Tell that the probe raised; too often, and nothing jumps any more."""
    run.num_failed += 1
    run.event("probe_failed", f"{type(error).__name__}: {error}; the jump is off")
    if run.jumps_are_off:
        run.event_once("jumps_off", f"the probe failed {run.num_failed} times; training goes on without jumps")
