"""A run whose loop belongs to somebody else: after each of its updates, the same engine does what `HybridTrainer` does.

    after_update   count the update, keep its loss and norms on the device; a verdict when it falls; the cycle's end
    _end_cycle     `cycle_end.end`, then the jump at once: no call of its own is needed for it

The host makes every step and keeps its learning rate, its batches and its clock. Hence what needs a forward pass of
ours is not had: no paired test, no fork. Instead, a jump is undone where gradients blow up or numbers are not finite in
the steps after it, and where a `probe` of the host's says so.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from hpt.config import HybridConfig
from hpt.control.divergence import EXPLOSION_RATIO
from hpt.distributed.together import Together
from hpt.jump.probe import MAX_FAILED
from hpt.jump.stats import CycleStats
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.traits import traits_of
from hpt.predictors.protocol import ForkRequest, Proposal
from hpt.predictors.registry import build_predictor
from hpt.records import Sink
from hpt.trainer import cycle_end, jumping
from hpt.trainer.cycle_end import Ending
from hpt.trainer.engine import Engine
from hpt.trainer.pending import losses_since_jump, read
from hpt.trainer.readings import device_row, gradient_norms
from hpt.trainer.rollback import NO_LOSSES, look_whether_jump_survived, roll_back_jump

MIN_NORMS = 32  # past gradient norms; the median of fewer is too uncertain to call a multiple of it a blow-up
HostProbe = Callable[[], float]
"""Loss at the present weights, on the same data whenever it is asked for close together."""


class HostedRun(Engine):
    """The engine of such a run.

    Args:
        model: names parameters; None: unknown.
        optimizer: what jumps move.
        config: settings.
        sink: receives every record.
        together: the processes that train this model.
        probe: see `HostProbe`; None: there is none.
    """

    def __init__(
        self,
        model: torch.nn.Module | None,
        optimizer: InnerOptimizer,
        config: HybridConfig,
        sink: Sink,
        together: Together,
        probe: HostProbe | None,
    ) -> None:
        super().__init__(torch.nn.Module() if model is None else model, optimizer, config, sink, together)
        self.buffered = torch.nn.Module()  # buffers are the host's, which alone runs the model
        self.host_probe = probe
        self.num_failed = 0
        self.config = replace(self.config, value=replace(self.config.value, fork_budget_frac=0.0))
        self.build_prediction(build_predictor(self.config, traits_of(model, optimizer)))
        if self.config.total_steps is None:
            self.event(
                "total_steps_unknown",
                "jumps go by the learning rate, at the first gain while it stays and none below a tenth of the "
                "largest; call jumps.set_total_steps(n) or set total_steps",
            )

    def go_without_losses(self) -> None:
        """The host shows none: nobody can tell whether the run makes progress, so jumps need not earn it."""
        self.has_losses = self.gate.must_earn = False

    @property
    def jumps_are_off(self) -> bool:
        """The probe raised too often."""
        return self.num_failed >= MAX_FAILED

    def measure(self) -> list[float]:
        """The host's probe, averaged over processes; random streams are as before afterwards.

        Raises:
            Exception: whatever it raises; FailedElsewhere in the processes where it did not.
        """
        self.ledger.lap("jump")
        losses = self.together.agree(self._probed)
        self.ledger.counters.probe_forwards += 1
        self.ledger.lap("probe")
        return losses

    def _probed(self) -> list[float]:
        assert self.host_probe is not None, "there is no probe"
        streams = stream_states()
        try:
            with torch.no_grad():
                return [float(self.host_probe())]
        finally:
            set_stream_states(streams)


def after_update(run: HostedRun, loss: torch.Tensor | None) -> None:
    """The host has made one update of its optimizer, with this loss if it shows any."""
    _note(run, loss)
    controller, correct = run.controller, run.correct
    verdict_falls = correct.count_step()
    if controller.cycle_done:
        run.parameters.look_at_memory(after_cycle=True)
    if _follow_change(run) or (verdict_falls and _verdict_falls_against_jump(run)):
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
    cycle_end.end(run, _is_datas, is_followed=False)
    run.correct.close(NO_LOSSES, rolled_back=False)
    run.outer.begin_cycle()
    run.outer.take_snapshot()
    run.controller.forced_full()
    return True


def _is_datas(signal: str) -> bool:
    """High losses are taken as the data's doing: without the batch nobody can tell, and the host would go on, too."""
    del signal
    return False


def _verdict_falls_against_jump(run: HostedRun) -> bool:
    """What the first steps after a jump say against it is reason enough to undo it, and them."""
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
        _probe_failed(run, error)
        return ""
    if not run.correct.is_to_blame(now, before):
        return ""
    return f"loss left the forecast's band by {excess:.4g}; probed {now:.4g} now, {before:.4g} before the jump"


def _end_cycle(run: HostedRun) -> None:
    ended = cycle_end.end(run, _is_datas)
    if isinstance(ended, CycleStats):
        proposal = jumping.ask(run, ended)
        assert not isinstance(proposal, ForkRequest), "forks have no budget here"
        if proposal is None:
            run.outer.begin_cycle()
            run.controller.start_cycle()
        else:
            _jump(run, proposal, ended)
    elif ended in (Ending.NOT_FINITE, Ending.WEIGHTS_LOST):
        _not_finite(run)
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
        _probe_failed(run, error)
        run.ledger.counters.jumps_rejected += 1
        run.gate.judge(kept=False)
        run.state.proposal = run.state.stats = None
        run.outer.begin_cycle()
        run.controller.jump_rejected()


def _probe_failed(run: HostedRun, error: Exception) -> None:
    run.num_failed += 1
    run.event("probe_failed", f"{type(error).__name__}: {error}; the jump is off")
    if run.jumps_are_off:
        run.event_once("jumps_off", f"the probe failed {run.num_failed} times; training goes on without jumps")


def _not_finite(run: HostedRun) -> None:
    """Undo the jump of this cycle if there was one; else it is the host's affair, and nothing of ours goes on."""
    if run.correct.jump is not None:
        roll_back_jump(run, "loss or gradient was not finite in the cycle after the jump")
        return
    run.event_once("not_finite", "losses, gradients or weights are not finite; hpt leaves them to your loop")
    run.history.drop()
    run.outer.begin_cycle()
    run.controller.forced_full()
