"""Floating-point operations of an update: real calls of `step()` counted, and everything put back as it was.

So that optimizers that do more a step are charged for it (`hpt compare`), on the same scale as forward and backward.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hpt.errors import UsageError
from hpt.numerics.flops import count_flops
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.plugins import failures_named

CALLS = 20


def update_flops(
    optimizers: Optimizer | Sequence[Optimizer], *, gradients: Callable[[], object] | None = None, calls: int = CALLS
) -> float:
    """Operations of one update, a `step()` of each optimizer, on average over a window of calls in the steady state.

    Work done every 2nd, 5th, 10th or 20th call is averaged right over the 20 of the default; of a longer period, or one
    that does not divide the window, name a multiple as `calls`. Optimizers that have no state yet first make as many
    calls that are not counted. Numbers matter only where an iteration stops by them (Shampoo's roots). A window takes
    the time of its calls, counting several times that of small ones. It needs memory for a copy of weights, gradients
    and optimizer state.

    What an optimizer does outside of `step()`, in a gradient's hook or in `zero_grad`, is not counted, nor are hooks on
    its steps, which are not run: such work shows in seconds. See `hpt.numerics.flops` for what counts as an operation.

    Weights, gradients, optimizer state and random streams are afterwards as they were, to the bit; buffers that a
    `gradients` of yours moves are yours to put back.

    Args:
        optimizers: one, or those that step together.
        gradients: leaves new gradients on the parameters, before every call; None: those that are there, each time.
        calls: length of the window.

    Returns:
        Floating-point operations an update, two a multiply-add.

    Raises:
        UsageError: `calls` is below 1, or no parameter has a gradient.
        HptError: an optimizer's state cannot be copied, or a step fails.
    """
    if calls < 1:
        raise UsageError(f"calls is {calls}, it must be 1 or more; raise it")
    each = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    kinds = ", ".join(type(one).__name__ for one in each)
    with failures_named(f"the operations of {kinds} cannot be counted"), _put_back(each) as same_gradients:
        renew = gradients or same_gradients
        if not all(one.state for one in each):
            _run(each, renew, calls)
        return _run(each, renew, calls) / calls


def _run(optimizers: Sequence[Optimizer], renew: Callable[[], object], calls: int) -> int:
    """Operations of so many updates."""
    total = 0
    for _ in range(calls):
        renew()
        if not any(one.grad is not None for one in _parameters(optimizers)):
            raise UsageError("no parameter has a gradient, so an update does nothing; call backward() first")
        with count_flops() as count:
            for one in optimizers:
                one.step()
            total += count()
    return total


@contextmanager
def _put_back(optimizers: Sequence[Optimizer]) -> Generator[Callable[[], None]]:
    """The optimizers work on copies of their state inside; what is yielded renews the gradients."""
    each = list(_with_inner(optimizers))
    parameters, streams = _parameters(each), stream_states()
    weights = [(one, one.data, one.data.clone()) for one in parameters]
    gradients = [(one, one.grad, None if one.grad is None else one.grad.clone()) for one in parameters]
    attributes = [(one, dict(vars(one))) for one in each]
    try:
        _work_on_copies(each, parameters)
        yield lambda: _renew(gradients)
    finally:
        for one, before in attributes:
            vars(one).clear()
            vars(one).update(before)
        for parameter, data, values in weights:
            parameter.data = data.copy_(values)
        _renew(gradients)
        set_stream_states(streams)


def _work_on_copies(each: Sequence[Optimizer], parameters: Sequence[Tensor]) -> None:
    """Copy all that the optimizers hold, but for parameters and each other; without the hooks that others put there."""
    memo: dict[int, Any] = {id(one): one for one in (*parameters, *each)}
    for one in each:
        for name, value in vars(one).items():
            is_hook = name.startswith("_optimizer_") and name.endswith("_hooks")
            vars(one)[name] = OrderedDict() if is_hook else deepcopy(value, memo)


def _renew(gradients: Iterable[tuple[Tensor, Tensor | None, Tensor | None]]) -> None:
    for parameter, gradient, values in gradients:
        parameter.grad = gradient
        if gradient is not None and values is not None:
            with torch.no_grad():
                gradient.copy_(values)


def _parameters(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    """Of all groups, each once."""
    found = (one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"])
    return list({id(one): one for one in found}.values())


def _with_inner(optimizers: Iterable[Optimizer]) -> Iterator[Optimizer]:
    """The optimizers, and those that they wrap."""
    for one in optimizers:
        yield one
        yield from _with_inner(value for value in vars(one).values() if isinstance(value, Optimizer))
