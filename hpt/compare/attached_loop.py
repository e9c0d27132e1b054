"""A hand-written loop with `hpt.attach`: what a user gets who keeps the loop, measured as the trainer is."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hpt.compare.cells import Cell
from hpt.config import HybridConfig
from hpt.errors import UsageError
from hpt.hooks.jumps import attach
from hpt.records import Sink
from hpt.workloads.workload import Workload


@dataclass(frozen=True, slots=True)
class AttachedStep:
    """One update of the loop: its loss, and that no batch went into a jump."""

    loss: float
    was_predicted: bool = False


class AttachedLoop:
    """The loop, with the part of the trainer's surface that a cell uses.

    Args:
        cell: its recipe says whether losses are shown.
        workload: loss, batches and clipping.
        model: trained in place.
        optimizers: stepped in order.
        schedulers: each stepped once an update.
        sink: receives the records of jumps and decisions.

    Raises:
        UsageError: the recipe asks for what is the trainer's alone.
    """

    def __init__(
        self,
        cell: Cell,
        workload: Workload,
        model: nn.Module,
        optimizers: list[Optimizer],
        schedulers: list[LRScheduler],
        sink: Sink,
    ) -> None:
        if cell.dtype == "fp16":
            raise UsageError("arms that are attached train without a loss scale; use another --dtype than fp16")
        self.config = HybridConfig.from_dict({**cell.recipe.config, "total_steps": cell.steps, "seed": cell.seed})
        self.num_updates = 0
        self._workload, self._model = workload, model
        self._optimizers, self._schedulers = optimizers, schedulers
        self._shows_losses = cell.recipe.loop == "attached"
        self._is_bf16 = cell.dtype == "bf16"
        self._jumps = attach(optimizers, self.config, model=model, sink=sink)

    @property
    def num_calls(self) -> int:
        """Batches consumed."""
        return self.num_updates

    def step(self, batch: Any) -> AttachedStep:
        """Forward, backward, clip, update, and the jump where one is due."""
        for one in self._optimizers:
            one.zero_grad(set_to_none=True)
        with torch.autocast(self._workload.device.type, torch.bfloat16, enabled=self._is_bf16):
            loss = self._workload.loss(self._model, batch)
        loss.backward()
        if self._workload.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._workload.clip_norm)
        if self._shows_losses:
            self._jumps.observe(loss)
        for one in self._optimizers:
            one.step()
        for one in self._schedulers:
            one.step()
        self.num_updates += 1
        return AttachedStep(loss.item())

    def finish(self) -> None:
        """Take the hooks off: what is measured of the optimizers afterwards is theirs alone."""
        self._account = self._summary()
        self._jumps.detach()

    def summary(self) -> dict[str, Any]:
        """The parts of `HybridTrainer.summary` that a cell stores."""
        return self._account if hasattr(self, "_account") else self._summary()

    def _summary(self) -> dict[str, Any]:
        found = self._jumps.summary()
        account = dict(found["account"])
        return {"counters": found["counters"], "confidence": account.pop("confidence", None), "predictor": account}
