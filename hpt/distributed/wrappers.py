"""Modules that wrap the user's for several processes or for the compiler."""

from collections.abc import Generator, Sequence
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


def fully_sharded(model: torch.nn.Module) -> list[Any]:
    """The modules that `torch.distributed.fsdp.fully_shard` was applied to; to be looked for once, not every step."""
    return [one for one in model.modules() if callable(getattr(one, "set_requires_gradient_sync", None))]


def reshard(sharded: Sequence[Any]) -> None:
    """Let go of gathered weights, which a forward pass without a backward one leaves; the next would use them as old.

    Until then the model holds them as its parameters, too.

    Args:
        sharded: what `fully_sharded` found.
    """
    for one in sharded:
        one.reshard()


def drop_unsent(sharded: Sequence[Any]) -> None:
    """Forget gradients that `gradients_stay` kept back and no update sent, as after an error in between.

    Those of fully_shard lie in parameters that it shows nobody, which `zero_grad` does not reach: the next update would
    have them, too. `DistributedDataParallel` keeps them where `zero_grad` finds them.

    Args:
        sharded: what `fully_sharded` found.
    """
    for one in sharded:
        state = one._get_fsdp_state()  # noqa: SLF001
        groups = getattr(state, "_fsdp_param_groups", None)
        for group in [state._fsdp_param_group] if groups is None else groups:  # noqa: SLF001 (torch 2.9)
            for each in [] if group is None else group.fsdp_params:
                each.unsharded_accumulated_grad = None
                if (gathered := getattr(each, "_unsharded_param", None)) is not None:
                    gathered.grad = None


@contextmanager
def gradients_stay(model: torch.nn.Module, sharded: Sequence[Any]) -> Generator[None]:
    """Inside, a backward pass sends no gradients to other processes: further micro-batches are added to them first.

    Args:
        model: as its forward pass is called.
        sharded: what `fully_sharded` found in it.
    """
    whole: Any = model
    if callable(getattr(whole, "no_sync", None)):  # DistributedDataParallel, also compiled
        with whole.no_sync():
            yield
        return
    for one in sharded:
        one.set_requires_gradient_sync(False, recurse=False)
    try:
        yield
    finally:
        for one in sharded:
            one.set_requires_gradient_sync(True, recurse=False)
