"""Modules that wrap the user's for several processes or for the compiler."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The user's own module inside DistributedDataParallel and torch.compile, whose names have no prefix."""
    while True:
        if isinstance(model, torch.nn.parallel.DistributedDataParallel):
            model = cast("torch.nn.Module", model.module)
        elif isinstance(inner := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = inner
        else:
            return model


@contextmanager
def gradients_stay(model: torch.nn.Module) -> Generator[None]:
    """Inside, a backward pass sends no gradients to other processes: further micro-batches are added to them first."""
    whole: Any = model
    if callable(getattr(whole, "no_sync", None)):  # DistributedDataParallel, also compiled
        with whole.no_sync():
            yield
    elif callable(getattr(whole, "set_requires_gradient_sync", None)):  # fully_shard
        whole.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            whole.set_requires_gradient_sync(True)
    else:
        yield
