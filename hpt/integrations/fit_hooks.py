"""What a callback of Lightning's does to have jumps: the hooks alone, for either package that calls them.

    on_load_checkpoint   what a resumed fit has behind it
    on_fit_start         attach; the optimizers are there, their state is loaded after it
    on_before_zero_grad  an update begins
    on_before_backward   its loss, micro-batch by micro-batch, already divided by accumulate_grad_batches
    teardown             detach, after every other callback's last word

`lightning` and `pytorch_lightning` each want callbacks of a class of their own, see the modules of these names here.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from hpt.config import HybridConfig
from hpt.errors import UsageError
from hpt.hooks.hosted import HostProbe
from hpt.hooks.jumps import STATE_KEY, Jumps, attach
from hpt.hooks.state import NOTHING, total_steps_of
from hpt.records import Sink


class FitHooks:
    """Attaches to a fit's optimizer, and detaches at its end.

    Args:
        config: settings; None: those of `hpt.attach`. Where total_steps is None, a resumed fit has that of the fit
            which was saved, another one the trainer's estimate; with manual optimization there is none.
        probe: see `hpt.attach`.
        sink: see `hpt.attach`.

    Attributes:
        jumps: of the fit under way, or of the last one; None before the first.
    """

    def __init__(self, config: HybridConfig | None = None, probe: HostProbe | None = None, sink: Sink | None = None):
        super().__init__()
        self._config, self._probe, self._sink = config, probe, sink
        self._saved: Mapping[str, Any] | None = None  # state of jumps in the checkpoint that the fit resumes from
        self._num_before = 0  # updates before that checkpoint
        self.jumps: Jumps | None = None

    def summary(self) -> dict[str, Any]:
        """What `Jumps.summary` tells; empty before the first fit."""
        return {} if self.jumps is None else self.jumps.summary()

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Note what was planned; the state itself comes with the optimizer's."""
        if trainer.state.fn == "fit":
            self._num_before = checkpoint["global_step"]
            self._saved = next((one[STATE_KEY] for one in checkpoint["optimizer_states"] if STATE_KEY in one), None)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach to the optimizer.

        Raises:
            UsageError: there are several, or jumps are attached to it already.
            ModelError: it cannot be attached to.
        """
        optimizers: list[Any] = trainer.optimizers
        if len(optimizers) != 1:
            raise UsageError(
                f"the module has {len(optimizers)} optimizers, whose steps this callback cannot tell apart; "
                "return one from configure_optimizers, or leave the callback out and call "
                "hpt.attach(self.trainer.optimizers, model=self) in the module's on_fit_start"
            )
        self.jumps = attach(optimizers[0], self._config, model=pl_module, probe=self._probe, sink=self._sink)
        if self._config is None or self._config.total_steps is None:
            total = self._total_steps(trainer)
            if total is not None:
                self.jumps.set_total_steps(total)
        self._saved, self._num_before = None, 0

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The first micro-batch of an update; the update before may not have been made."""
        if self.jumps is not None:
            self.jumps.begin_update()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        """Show what is back-propagated, without the factor of a gradient scaler."""
        if self.jumps is not None:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            self.jumps.observe(loss if scaler is None else loss.detach() / scaler.scale(torch.ones_like(loss)))

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Detach."""
        self._detach()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Detach."""
        self._detach()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """After detaching the optimizer's state lacks ours, and `trainer.save_checkpoint` is called then, too."""
        mine = NOTHING if self.jumps is None else self.jumps.state_dict()
        if mine != NOTHING:
            for state in checkpoint.get("optimizer_states", ()):
                state.setdefault(STATE_KEY, mine)

    def _detach(self) -> None:
        if self.jumps is not None:
            self.jumps.detach()

    def _total_steps(self, trainer: Any) -> int | None:
        """Updates from the first one with jumps to the end, as far as the trainer knows."""
        if self._saved is not None:
            return total_steps_of(self._saved)
        if not trainer.lightning_module.automatic_optimization:
            return None
        rest = trainer.estimated_stepping_batches - self._num_before
        return int(rest) if math.isfinite(rest) and rest > 0 else None
