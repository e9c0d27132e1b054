"""After each update of the host's, the engine does what the trainer does after a full step.

    after_update   count the update, keep its loss and norms on the device; a verdict when it falls; the cycle's end
    _end_cycle     `cycle_end.end`, then the jump at once: no call of its own is needed for it

The host makes every step and keeps its learning rate, its batches and its clock.
"""

import torch

from hpt.hooks.guard import not_finite, probe_failed, verdict_falls_against_jump
from hpt.hooks.hosted import HostedRun
from hpt.jump.stats import CycleStats
from hpt.predictors.protocol import ForkRequest, Proposal
from hpt.trainer import cycle_end, jumping
from hpt.trainer.cycle_end import Ending
from hpt.trainer.readings import device_row, gradient_norms
from hpt.trainer.rollback import NO_LOSSES, look_whether_jump_survived


def after_update(run: HostedRun, loss: torch.Tensor | None) -> None:
    """The host has made one update of its optimizer, with this loss if it shows any."""
    _note(run, loss)
    controller, correct = run.controller, run.correct
    verdict_falls = correct.count_step()
    if controller.cycle_done:
        run.parameters.look_at_memory(after_cycle=True)
    if _follow_change(run) or (verdict_falls and verdict_falls_against_jump(run)):
        return
    if correct.num_seen == 1:
        look_whether_jump_survived(run)
    if controller.cycle_done:
        run.state.is_changing = False
        _end_cycle(run)


def _note(run: HostedRun, loss: torch.Tensor | None) -> None:
    """Count the update and keep its numbers, where they are."""
    if run.parameters.refresh():
        run.lay_rows_anew()
    phase, counters = run.controller.phase, run.ledger.counters
    run.controller.full_step_done()
    run.state.num_calls += 1
    counters.forwards += 1
    counters.backwards += 1
    counters.optimizer_updates += 1
    if loss is None:
        loss = torch.full((), torch.nan, device=run.device)
    run.readings.add(device_row(loss.reshape(1), gradient_norms(run.parameters.clipped, loss)))
    run.history.add(run.controller.step, run.optimizer.lr, run.controller.cycle_frac, phase)


def _follow_change(run: HostedRun) -> bool:
    """If other parameters are trained than at the cycle's start, it ends here; nothing jumps over the change."""
    if not run.parameters.change:
        return False
    if not run.state.is_changing:
        run.event("parameters_changed", f"{run.parameters.change}; the cycle starts anew")
    run.state.is_changing = True
    run.follow_parameters()
    if cycle_end.end(run, _is_datas, is_followed=False) is Ending.NOT_FINITE:
        run.history.drop()
    run.correct.close(NO_LOSSES, rolled_back=False)
    run.outer.begin_cycle()
    run.outer.take_snapshot()
    run.controller.forced_full()
    return True


def start_anew(run: HostedRun) -> None:
    """The host loaded weights of another time: what was seen of the cycle under way leads nowhere, nor back."""
    run.event("weights_loaded", "weights were loaded without the path that led there; the cycle starts anew")
    run.readings.clear()
    run.history.drop()
    run.correct.close(NO_LOSSES, rolled_back=False)
    run.outer.begin_cycle()
    run.outer.snapshot = None
    run.controller.forced_full()


def _is_datas(signal: str) -> bool:
    """High losses are taken as the data's doing: without the batch nobody can tell, and the host would go on, too."""
    del signal
    return False


def _end_cycle(run: HostedRun) -> None:
    ended = cycle_end.end(run, _is_datas, is_followed=bool(run.outer.trajectory.parameters))
    if isinstance(ended, CycleStats):
        proposal = jumping.ask(run, ended)
        assert not isinstance(proposal, ForkRequest), "forks have no budget here"
        if proposal is None:
            run.outer.begin_cycle()
            run.controller.start_cycle()
        else:
            _jump(run, proposal, ended)
    elif ended in (Ending.NOT_FINITE, Ending.WEIGHTS_LOST):
        not_finite(run)
    run.ledger.lap("trajectory")


def _jump(run: HostedRun, proposal: Proposal, stats: CycleStats) -> None:
    """Make the jump now, between two updates of the host's."""
    run.state.proposal, run.state.stats = proposal, stats
    run.controller.begin_predict()
    run.ledger.counters.jumps_proposed += 1
    measure = None if run.host_probe is None else run.measure
    try:
        jumping.make(run, measure, paired=jumping.affords_pair(run))
    except Exception as error:
        if run.host_probe is None:
            raise
        probe_failed(run, error)
        run.ledger.counters.jumps_rejected += 1
        run.gate.judge(kept=False)
        run.state.proposal = run.state.stats = None
        run.outer.begin_cycle()
        run.controller.jump_rejected()
