"""Workloads and predictors that reach for the validation set while training."""

from pathlib import Path
from typing import Any

import torch

from hpt.workloads.regression import Pair, Regression


class LeakyRegression(Regression):
    """Its batch 30 is a validation batch."""

    name = "leaky"

    def batch(self, index: int) -> Pair:
        """All training samples, but once those of the validation set."""
        return self.validation_batches()[0] if index == 30 else super().batch(index)


def make(*, seed: int, data: Path | None, device: torch.device) -> Any:
    """The factory."""
    del data
    return LeakyRegression(seed=seed, device=device)
