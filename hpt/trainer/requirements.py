"""What cannot be trained, or not with jumps, is refused before the first step, with what to do instead."""

import functools
import inspect
from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch.nn.parameter import is_lazy

from hpt.config import HybridConfig
from hpt.errors import ConfigError, ModelError
from hpt.numerics.shards import is_dtensor, local, objection
from hpt.optimizers.inner import InnerOptimizer

REACH = 3  # from a bound method: its object, a table of that, an optimizer in it


def check_trainable(model: torch.nn.Module, optimizer: InnerOptimizer, schedulers: Sequence[object]) -> None:
    """What every trainer needs, the plain loop included.

    Raises:
        ModelError: a weight is not there yet, or an optimizer or scheduler cannot be stepped without an argument.
    """
    for name, one in _named_tensors(model, optimizer):
        if is_lazy(one):
            raise ModelError(
                f"{name} is not initialised, the size of a lazy module must be known; "
                "run one batch through the model first, then build the optimizer and the trainer"
            )
        if one.is_meta:
            raise ModelError(f"{name} is on the meta device, it must hold numbers; load the weights or call to_empty()")
    if not [p for p in optimizer.parameters if p.requires_grad]:
        raise ModelError("the optimizer holds no parameter that requires a gradient; unfreeze some or pass others")
    for one in optimizer.each:
        if _required_arguments(one) or (hasattr(one, "first_step") and hasattr(one, "second_step")):
            raise ModelError(
                f"optimizer {_name(one)} evaluates the loss inside step(closure), hpt evaluates it once before; "
                "use one whose step() needs no closure (AdamW, SGD, Muon), or this one in a loop of your own"
            )
    for place, scheduler in enumerate(schedulers):
        _check_scheduler(scheduler, is_again=any(scheduler is one for one in schedulers[:place]))


def _check_scheduler(scheduler: object, *, is_again: bool) -> None:
    if not callable(getattr(scheduler, "step", None)):
        raise ModelError(
            f"scheduler is a {_name(scheduler)}, it must be a learning-rate scheduler, a list of them, or None; "
            "leave out what is none"
        )
    if is_again:
        raise ModelError(f"scheduler {_name(scheduler)} is in the list twice, it would be stepped twice; pass it once")
    if needed := _required_arguments(scheduler):
        raise ModelError(
            f"scheduler {_name(scheduler)} needs {', '.join(needed)} to step, hpt steps it without; "
            f"leave it out and call scheduler.step({needed[0]}) yourself, between two calls of the trainer"
        )


_REMEDY = "set predictor='none', the plain loop"


def check_predictable(
    model: torch.nn.Module, optimizer: InnerOptimizer, num_processes: int = 1, remedy: str = _REMEDY
) -> None:
    """What jumps need besides.

    Raises:
        ModelError: weights in pieces of another kind than jumps know, or an optimizer at work where hpt cannot see it.
    """
    _check_wrappers(model, remedy)
    for name, one in _named_tensors(model, optimizer):
        if is_dtensor(one) and (reason := objection(one, num_processes)):
            raise ModelError(f"{name} is {reason}, or {remedy}")
        if one.requires_grad and _is_wrapper(one):
            raise ModelError(f"{name} is a {_name(one)}, a tensor that hides others, which jumps cannot move; {remedy}")
    in_backward = [name for name, one in model.named_parameters() if _updates_in_backward(one)]
    if in_backward:
        raise ModelError(
            f"parameter {in_backward[0]} is updated by an optimizer inside the backward pass, "
            "before hpt has checked its gradient; "
            f"remove the hooks and pass one optimizer over all parameters, or {remedy}"
        )
    for one in optimizer.each:
        if type(one).__module__.partition(".")[0] == "torchao":
            raise ModelError(_hidden_state(one))


def _check_wrappers(model: torch.nn.Module, remedy: str) -> None:
    """No module flattens the weights of others into pieces of its own, and no engine steps the optimizer itself."""
    for one in model.modules():
        if type(one).__name__ == "FullyShardedDataParallel":
            raise ModelError(
                "the model is wrapped by FullyShardedDataParallel, whose flat parameters jumps cannot move; "
                f"use torch.distributed.fsdp.fully_shard or DistributedDataParallel, or {remedy}"
            )
        if type(one).__module__.partition(".")[0] == "deepspeed":
            raise ModelError(
                f"the model is a DeepSpeed {_name(one)}, which keeps and steps the weights itself; "
                f"use DistributedDataParallel, or {remedy}"
            )


def check_settings(config: HybridConfig, optimizer: InnerOptimizer, num_processes: int) -> None:
    """Nothing is asked for that several processes cannot have.

    Raises:
        ConfigError: see there.
    """
    if config.update.observe == "step" and num_processes > 1:
        raise ConfigError(
            "update.observe is 'step', but several processes know their losses together, once a cycle; leave it at auto"
        )
    if config.memory.offload_optimizer and any(map(is_dtensor, optimizer.parameters)):
        raise ConfigError(
            "memory.offload_optimizer is set, and the optimizer's state lies in pieces on several processes (DTensor), "
            "which stay where they are; unset it"
        )


def check_state(optimizer: InnerOptimizer) -> None:
    """What the optimizers have made of their state by now can be copied and put back.

    Raises:
        ModelError: a tensor in it hides others.
    """
    for one in optimizer.each:
        for entry in cast("dict[Any, Any]", one.state).values():
            if isinstance(entry, dict) and any(map(_is_wrapper, cast("dict[Any, Any]", entry).values())):
                raise ModelError(_hidden_state(one))


def _hidden_state(optimizer: torch.optim.Optimizer) -> str:
    return (
        f"optimizer {_name(optimizer)} keeps its state in tensors that hide others (quantized, offloaded), "
        "which cannot be put back after a jump; use torch.optim's of that name, or set predictor='none'"
    )


def _named_tensors(model: torch.nn.Module, optimizer: InnerOptimizer) -> Iterator[tuple[str, torch.Tensor]]:
    yield from ((f"parameter {name}", one) for name, one in model.named_parameters())
    yield from ((f"buffer {name}", one) for name, one in model.named_buffers())
    yield from ((f"parameter {place} of the optimizer", one) for place, one in enumerate(optimizer.parameters))


def _name(value: object) -> str:
    return type(value).__qualname__


def _required_arguments(stepped: object) -> list[str]:
    """Names of the arguments of `step` that have no default, by its class: schedulers wrap the optimizer's own."""
    try:
        parameters = list(inspect.signature(cast("Any", type(stepped)).step).parameters.values())[1:]
    except (AttributeError, TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is inspect.Parameter.empty and one.kind not in variadic]


def _is_wrapper(value: object) -> bool:
    """A tensor without memory of its own, or a piece of one."""
    return isinstance(value, torch.Tensor) and hasattr(type(local(value)), "__tensor_flatten__")


def _updates_in_backward(parameter: torch.nn.Parameter) -> bool:
    """A hook that runs as soon as the gradient is there calls `step` and can reach an optimizer."""
    if getattr(parameter, "_in_backward_optimizers", None):  # torch.distributed.optim's
        return True
    hooks: dict[int, Any] = getattr(parameter, "_post_accumulate_grad_hooks", None) or {}
    return any(
        "step" in _names_in(hook) and any(isinstance(one, torch.optim.Optimizer) for one in _within_reach(hook))
        for hook in hooks.values()
    )


def _names_in(hook: Any) -> tuple[str, ...]:
    """Names that a function's code uses; of an object, its __call__."""
    function = hook.func if isinstance(hook, functools.partial) else hook
    function = getattr(function, "__func__", function)
    code = getattr(function if isinstance(function, FunctionType) else type(function).__call__, "__code__", None)
    return getattr(code, "co_names", ())


def _within_reach(value: Any, depth: int = REACH) -> Iterator[Any]:
    """The value and what it holds, so many steps far."""
    yield value
    if depth and not isinstance(value, (torch.Tensor, torch.nn.Module, type, ModuleType)):
        for one in _held_by(value):
            yield from _within_reach(one, depth - 1)


def _held_by(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(cast("dict[Any, Any]", value).values())
    if isinstance(value, (list, tuple)):
        return cast("Iterable[Any]", value)
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, FunctionType):
        variables = inspect.getclosurevars(value)
        return [*variables.nonlocals.values(), *variables.globals.values()]
    return list(getattr(value, "__dict__", {}).values())
