"""The loop a user writes by hand: what the trainer's time is measured against."""

from typing import Any

import torch

from hpt.workloads.workload import Workload


class PlainLoop:
    """A model, its optimizer and its schedule, stepped without a trainer.

    Args:
        workload: what to train.
        total_steps: length of the schedule, updates.

    Attributes:
        model: trained in place.
    """

    def __init__(self, workload: Workload, total_steps: int) -> None:
        self._workload = workload
        self.model = workload.build_model()
        self._optimizer = workload.build_optimizer(self.model)
        self._scheduler = workload.build_scheduler(self._optimizer, total_steps)

    def step(self, batch: Any) -> float:
        """Forward, backward, clip, update; returns the loss, which waits for the device."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._workload.loss(self.model, batch)
        loss.backward()
        if self._workload.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._workload.clip_norm)
        self._optimizer.step()
        self._scheduler.step()
        return loss.item()
