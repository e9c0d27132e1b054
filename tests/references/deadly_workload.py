"""A workload whose process dies at its first batch."""

import os
import signal
from pathlib import Path

import torch

from hpt.workloads.regression import Pair, Regression


class DeadlyRegression(Regression):
    """Kills its process as the system does when memory runs out."""

    name = "deadly"

    def batch(self, index: int) -> Pair:
        """There is none."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError(index)


def make(*, seed: int, data: Path | None, device: torch.device) -> DeadlyRegression:
    """The factory."""
    del data
    return DeadlyRegression(seed=seed, device=device)
