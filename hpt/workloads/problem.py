"""A training problem of the user's without its data: what `package.module:factory` returns, or a workload by name."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.optim import Optimizer

from hpt.errors import HptError
from hpt.plugins import failures_named, load_plugin
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload

META, CPU = torch.device("meta"), torch.device("cpu")
PARTS = "(model, batch, optimizer, loss_fn)"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is trained, and on what.

    Attributes:
        model: any module.
        batch: one, of the size that is trained on.
        optimizer: or a list of them.
        loss_fn: (model, batch) -> scalar; None: the model computes it.
        clip_norm: of the workload; None: no clipping.
    """

    model: torch.nn.Module
    batch: Any
    optimizer: Optimizer | Sequence[Optimizer]
    loss_fn: Callable[[torch.nn.Module, Any], torch.Tensor] | None
    clip_norm: float | None = None


def load_problem(name: str, *, for_cuda: bool) -> Problem:
    """The problem of that name.

    Args:
        name: of a workload, or `package.module:factory`. A factory that takes `seed`, `data` and `device` is called
            with them, as workloads are made, any other without arguments; it returns a workload or the four parts.
        for_cuda: made on the meta device, so that weights take no memory, unless its code cannot do without; else on
            the CPU, for which some optimizers are others.

    Raises:
        UsageError: the name is unknown.
        HptError: the factory cannot be imported, fails, or returns something else.
    """
    factory: Any = None
    if ":" in name:
        with failures_named(f"{name} cannot be loaded"):
            factory = load_plugin(name)
    if for_cuda:
        with suppress(Exception):  # it reads values on the way; whatever else it is, the second attempt tells
            return _made(name, factory, META, META)
    with failures_named(f"{name} cannot be made"):
        return _made(name, factory, CPU, nullcontext())


def _made(name: str, factory: Any, device: torch.device, inside: AbstractContextManager[Any]) -> Problem:
    with inside:
        if factory is None:
            made: Any = load_workload(name, seed=0, device=device)
        elif _takes_workload_arguments(factory):
            made = factory(seed=0, data=None, device=device)
        else:
            made = factory()
        if isinstance(made, Workload):
            model = made.build_model()
            return Problem(model, made.batch(0), made.build_optimizer(model), made.loss, made.clip_norm)
    return _of_parts(name, made)


def _takes_workload_arguments(factory: Any) -> bool:
    try:
        inspect.signature(factory).bind(seed=0, data=None, device=CPU)
    except (TypeError, ValueError):
        return False
    return True


def _of_parts(name: str, made: Any) -> Problem:
    parts = cast("Sequence[Any]", made if isinstance(made, (tuple, list)) else ())
    if len(parts) != 4 or not isinstance(parts[0], torch.nn.Module):
        found = f"{len(parts)} parts" if parts else f"a {type(made).__name__}"
        raise HptError(f"{name} returned {found}, it must be a Workload or {PARTS}; mend it")
    return Problem(*parts)
