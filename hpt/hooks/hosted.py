"""A run whose loop belongs to somebody else: `hpt.hooks.updates` drives the trainer's engine by the host's steps.

The host makes every step and keeps its learning rate, its batches and its clock. Hence what needs a forward pass of
ours is not had: no paired test, no fork. Instead, a jump is undone where gradients blow up or numbers are not finite in
the steps after it, and where a `probe` of the host's says so.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from hpt.config import HybridConfig
from hpt.distributed.together import Together
from hpt.distributed.wrappers import reshard
from hpt.jump.probe import MAX_FAILED
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.traits import traits_of
from hpt.predictors.registry import build_predictor
from hpt.records import Sink
from hpt.trainer.engine import Engine

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

    @property
    def can_undo(self) -> bool:
        """A jump is watched, and the state before it is at hand: after loading in between it is not."""
        return self.correct.jump is not None and self.outer.snapshot is not None

    def forget_gradients(self) -> None:
        """They are the host's, which may look at them and makes new ones."""

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
            reshard(self.sharded)
            set_stream_states(streams)
