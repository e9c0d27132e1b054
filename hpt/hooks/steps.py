"""Which calls of an optimizer's `step` are updates of the weights, as far as hooks on it can tell."""

import sys
from typing import Any

from torch.optim import Optimizer

_STEP = Optimizer.profile_hook_step(lambda: None).__code__  # the wrapper around every `step`, which runs the hooks


def is_inner_call(optimizer: Optimizer) -> bool:
    """A `step` called by a derived class's `step`: the hooks run for both, and the outer one is the update."""
    frame, num_calls = sys._getframe(1), 0  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        num_calls += frame.f_code is _STEP and frame.f_locals["self"] is optimizer
        frame = frame.f_back
    return num_calls > 1


def only_makes_state(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """A step at rate 0 without gradients, by which torch.distributed.checkpoint makes an optimizer's state.

    Args:
        optimizer: about to step.
        args: of the call, the optimizer first.
        kwargs: of the call; a closure would make the gradients, so that nothing is known of them yet.
    """
    if optimizer.state or any(float(group.get("lr", 1.0)) != 0.0 for group in optimizer.param_groups):
        return False
    if any(one is not None for one in (*args[1:], *kwargs.values())):
        return False
    grads = [one.grad for group in optimizer.param_groups for one in group["params"] if one.requires_grad]
    return all(one is not None and not one.any() for one in grads)


def was_skipped(optimizer: Optimizer) -> bool:
    """A GradScaler found numbers that are not finite, and a fused step left the weights alone."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found > 0.0)
