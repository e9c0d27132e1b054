"""Number formats of a training step: autocast around forward passes, and loss scaling where fp16 needs it.

bf16 has the exponent range of fp32 and needs no scaling; fp16 gradients underflow, so the loss is multiplied
by a scale that grows until gradients overflow, and the update that overflowed is skipped (Micikevicius et
al., arXiv:1710.03740; torch.amp.GradScaler does the work). Such a skip belongs to the search for the scale
and is no divergence. With autocast "none" and no scaler nothing is added to the plain loop. Each phase may
have a format of its own; the scaler is there as soon as one that runs a backward pass needs it.

Of several optimizers GradScaler steps those whose own gradients are finite. Half an update belongs to no loop that a
user wants and could not be told from a whole one, so here a gradient that overflowed skips the update of all: each is
shown what was found for any, which leaves weights and states as they were, and the scale is lowered once.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from hpt.config import PrecisionConfig
from hpt.optimizers.inner import InnerOptimizer
from hpt.records import Phase

_DTYPES = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and loss scaling for one update at a time.

    Attributes:
        scaler: the GradScaler in use, or None.
    """

    def __init__(self, config: PrecisionConfig, device: torch.device) -> None:
        self._device_type = device.type
        names = {phase: config.phases.get(phase.lower(), config.autocast) for phase in Phase}
        self._dtype_in = {phase: _DTYPES[name] for phase, name in names.items()}
        self.enter(Phase.FULL)
        trained = {name for phase, name in names.items() if phase is not Phase.PREDICT}
        scales = "fp16" in trained if config.grad_scaler is None else config.grad_scaler
        self.scaler: torch.amp.GradScaler | None = None
        if scales:
            self.scaler = torch.amp.GradScaler(device.type, init_scale=config.initial_scale)
        self._is_unscaled = False

    def enter(self, phase: Phase) -> None:
        """Forward passes from now on belong to this phase; a fork's replay to the phase that it ends in."""
        self._dtype = self._dtype_in[phase]

    def forward_context(self) -> AbstractContextManager[Any]:
        """Context for forward pass and loss, not for the backward."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device_type, dtype=self._dtype)

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """What to call backward() on."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def unscale(self, optimizer: InnerOptimizer) -> None:
        """Divide the gradients by the scale, so that norms and clipping are true; once an update."""
        if self.scaler is None:
            return
        if self._is_unscaled:
            # The update before was given up; setting the scale to itself makes the scaler forget it.
            self.scaler.update(self.scaler.get_scale())
        self._is_unscaled = True
        for one in optimizer.each:
            self.scaler.unscale_(one)
        if len(optimizer.each) > 1:
            _share_overflows(self.scaler, optimizer)

    def step(self, optimizer: InnerOptimizer) -> bool:
        """Update weights and scale; False when the scaler skipped the update because gradients overflowed."""
        if self.scaler is None:
            for one in optimizer.each:
                one.step()
            return True
        before = self.scaler.get_scale()
        for one in optimizer.each:
            self.scaler.step(one)
        self.scaler.update()
        self._is_unscaled = False
        # Fused optimizers skip inside their kernel, so only the lowered scale tells of every skip.
        return self.scaler.get_scale() >= before

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state; None without one."""
        return {"scaler": None if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; the state of a run without a scaler leaves this scaler as it is."""
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def _share_overflows(scaler: torch.amp.GradScaler, optimizer: InnerOptimizer) -> None:
    """Every optimizer sees the overflows of all, on its way to the scaler's `step`; nothing is read from a device.

    One without a gradient is given them too: the scaler would refuse to step it.
    """
    found: list[dict[Any, torch.Tensor]] = [
        scaler._found_inf_per_device(one)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        for one in optimizer.each
    ]
    every = [one for by_device in found for one in by_device.values()]
    if not every:
        return
    overflows = torch.stack([one.to(every[0].device) for one in every]).sum(dim=0)
    for by_device in found:
        by_device.clear()
        by_device[overflows.device] = overflows
