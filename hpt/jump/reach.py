"""What a loss function holds on to besides its arguments, as far as one more call of it could leave traces there.

    modules    a criterion with a batch norm, a teacher: their buffers are guarded like the model's
    sources    random streams of its own: put back like the global ones
    readers    iterators that its code reads from: another call would read other data

Looked through are the values that its code names (cells and globals), arguments of a partial, attributes of a bound
method's object, containers of these, and functions that it calls, a few steps deep. Plain numbers and tensors in
attributes are not guarded: what a pass through the model or the loss function changes there, a probe changes, too.
"""

import dis
import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import IOBase
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast, get_args

import torch

from hpt.numerics.rng import RandomSource

DEPTH = 4  # steps from the function to what it holds on to
MAX_VISITS = 10_000
_SOURCES = get_args(RandomSource)
_LIBRARIES = {"torch", "numpy"}  # their functions hold on to nothing of the user's


@dataclass(slots=True)
class Reach:
    """What was found.

    Attributes:
        modules: outside the model.
        sources: random streams, those in attributes of the model's modules included.
        readers: type names of iterators.
    """

    modules: list[torch.nn.Module] = field(default_factory=list[torch.nn.Module])
    sources: list[RandomSource] = field(default_factory=list[RandomSource])
    readers: list[str] = field(default_factory=list[str])


def reach(loss_fn: object, model: torch.nn.Module) -> Reach:
    """What `loss_fn` holds on to, besides the model."""
    found = Reach()
    seen: dict[int, object] = {id(model): model}
    todo: list[tuple[object, int]] = [(loss_fn, 0)]
    while todo and len(seen) < MAX_VISITS:
        value, depth = todo.pop(0)
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, torch.nn.Module):
            found.modules.append(value)
        elif isinstance(value, _SOURCES):
            found.sources.append(cast("RandomSource", value))
        if depth < DEPTH:
            with suppress(Exception):  # a proxy may raise anything when it is looked at
                todo += [(one, depth + 1) for one in _held_by(value, found)]
    modules = {id(one): one for outer in (model, *found.modules) for one in outer.modules()}
    sources = [one for module in modules.values() for one in vars(module).values() if isinstance(one, _SOURCES)]
    found.sources = list({id(one): one for one in (*found.sources, *sources)}.values())
    return found


def _held_by(value: Any, found: Reach) -> Iterable[Any]:
    if isinstance(value, FunctionType):
        return _named(value, found)
    if isinstance(value, MethodType):
        _note_readers((getattr(value.__self__, name, None) for name in _names(value.__func__, "LOAD_ATTR")), found)
        return value.__func__, value.__self__
    if isinstance(value, partial):
        arguments = [*value.args, *value.keywords.values()]
        _note_readers(arguments, found)
        return [value.func, *arguments]
    if isinstance(value, (list, tuple, set, dict)):
        items = value.values() if isinstance(value, dict) else cast("Iterable[Any]", value)
        return itertools.islice(items, MAX_VISITS)
    return _attributes(value)


def _attributes(value: Any) -> list[Any]:
    if isinstance(value, (type, ModuleType, torch.Tensor, torch.optim.Optimizer)):
        return []
    held = getattr(value, "__dict__", {})
    if isinstance(value, torch.nn.Module):
        return [one for name, one in held.items() if not name.startswith("_")]
    called = getattr(type(value), "__call__", None)  # noqa: B004 (its code is looked through)
    return [*held.values(), called]


def _named(function: FunctionType, found: Reach) -> list[Any]:
    """Values of the cells and globals that a function's code names."""
    if str(function.__module__).split(".")[0] in _LIBRARIES:
        return []
    values = [function.__globals__.get(name) for name in _names(function, "LOAD_GLOBAL")]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not yet filled
            continue
    values += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    _note_readers(values, found)
    return values


def _names(function: FunctionType, operation: str) -> set[str]:
    """Names that the function, or one inside it, looks up by an operation of the interpreter."""
    names, todo = set[str](), [function.__code__]
    while todo:
        code = todo.pop()
        names |= {str(one.argval) for one in dis.get_instructions(code) if one.opname == operation}
        todo += [one for one in code.co_consts if isinstance(one, CodeType)]
    return names


def _note_readers(values: Iterable[Any], found: Reach) -> None:
    """Iterators, except counters and open files."""
    found.readers += [
        type(one).__name__
        for one in values
        if isinstance(one, Iterator) and not isinstance(one, (IOBase, itertools.count))
    ]
