"""A cheat: AdamW that does most of its work in a gradient's hook, where no count of `step()` sees it."""

from typing import Any

import torch
from torch import nn
from torch.optim import AdamW


def factory(*, model: nn.Module, peak_lr: float, total_steps: int) -> AdamW:
    """AdamW, and half a second of products before each of its updates."""
    first = next(model.parameters())
    waste = torch.rand(600, 600)

    def work(gradient: torch.Tensor) -> None:
        for _ in range(20):
            _ = waste @ waste

    first.register_hook(work)
    groups: list[dict[str, Any]] = [
        {"params": [one for one in model.parameters() if one.ndim >= 2], "weight_decay": 0.0},
        {"params": [one for one in model.parameters() if one.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=peak_lr, betas=(0.9, 0.95))
