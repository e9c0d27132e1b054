"""A regression so small that 300 updates take a second, and its loop by hand, which libraries are compared with."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

import hpt
from hpt import HybridConfig, Jumps

NUM_STEPS = 300
CONFIG = HybridConfig(predictor="prior", full_steps=10, warmup_steps=40, total_steps=NUM_STEPS)
Batch = tuple[torch.Tensor, torch.Tensor]
Weights = list[torch.Tensor]


def batches(num: int = NUM_STEPS, seed: int = 0) -> list[Batch]:
    """Pairs of (16, 6) inputs and (16, 1) targets."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(6, 1, generator=generator)
    inputs = torch.randn(num, 16, 6, generator=generator)
    return [(x, torch.tanh(x @ slope) + 0.1 * torch.randn(16, 1, generator=generator)) for x in inputs]


def network() -> nn.Sequential:
    """The same weights at each call."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))


def adamw(model: nn.Module, **options: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=1e-2, **options)


def loss_of(model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
    """Mean squared error."""
    return (model(batch[0]) - batch[1]).square().mean()


def weights_of(model: nn.Module) -> Weights:
    """Copies."""
    return [one.detach().clone() for one in model.parameters()]


def by_hand(
    data: Sequence[Batch],
    config: HybridConfig = CONFIG,
    *,
    accumulate: int = 1,
    autocast: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    **options: Any,
) -> tuple[Weights, Jumps]:
    """The loop that anybody would write around `hpt.attach`; options are of AdamW."""
    model = network()
    optimizer = adamw(model, **options)
    jumps = hpt.attach(optimizer, config, model=model)
    scaler = torch.amp.GradScaler("cpu", enabled=False) if scaler is None else scaler
    for first in range(0, len(data), accumulate):
        optimizer.zero_grad()
        jumps.begin_update()
        for batch in data[first : first + accumulate]:
            with torch.autocast("cpu", autocast, enabled=autocast is not None, cache_enabled=False):
                loss = loss_of(model, batch) / accumulate
            scaler.scale(loss).backward()
            jumps.observe(loss)
        scaler.step(optimizer)
        scaler.update()
    return weights_of(model), jumps


@cache
def plain() -> tuple[Weights, Jumps]:
    """`by_hand` without options, once for all tests; nobody writes to what it gives."""
    return by_hand(batches())


def overflowing_scaler() -> torch.amp.GradScaler:
    """So large a scale that the first steps are skipped."""
    return torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=10**6)


def num_skipped(scaler: torch.amp.GradScaler) -> int:
    """Steps that `overflowing_scaler` had skipped, each of which halves the scale."""
    return round(24 - math.log2(scaler.get_scale()))
