"""A workload whose process kills itself inside the n-th forward pass, for tests of resuming."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpt.workloads.regression import Regression


class Mortal(Regression):
    """Noisy minibatch regression; HPT_TEST_DIE_AT names the forward pass that is the process's last."""

    name = "mortal"

    def __init__(self, *, seed: int, device: torch.device) -> None:
        super().__init__(seed=seed, device=device)
        self._forwards = 0
        self._die_at = int(os.environ.get("HPT_TEST_DIE_AT", "0"))

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Without the strong momentum, so that jumps are kept."""
        return torch.optim.SGD(model.parameters(), lr=0.2)

    def batch(self, index: int) -> Any:
        """A random half of the samples, a function of the index."""
        x, y = super().batch(index)
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(index))[: len(x) // 2]
        return x[rows], y[rows]

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss, until the end comes."""
        self._forwards += 1
        if self._forwards == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch)


def factory(*, seed: int, data: Path | None, device: torch.device) -> Mortal:
    """As `hpt train --workload references.mortal_workload:factory` calls it."""
    assert data is None
    return Mortal(seed=seed, device=device)
