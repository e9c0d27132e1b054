"""Containers in which people hand around tensors: taken apart, and put together again as the same type.

Lists, tuples, named tuples, dictionaries, mappings, data classes, and any object that is nothing but its attributes;
their subclasses keep what they carry besides. An object is made without a call of its class's code: what it was built
from and checked against is known to fit.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch

T = TypeVar("T")
MAX_DEPTH = 32  # deeper is a cycle, or nothing that a loss function takes
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8  # flags of a type: made at run time; may not be changed, hence of C
_POINTER_BYTES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """What an object holds, in its order.

    Attributes:
        items: of a list or tuple.
        entries: keys and values of a dictionary.
        fields: attributes by name.
    """

    items: list[Any]
    entries: list[tuple[Any, Any]]
    fields: dict[str, Any]


def taken_apart(value: Any) -> Parts | None:
    """What a container holds; None for what is none, or has a state that is not in its parts."""
    kind = cast("type[Any]", type(value))
    origin = _origin(kind)
    if issubclass(origin, (list, tuple)):
        is_record = hasattr(kind, "n_sequence_fields")  # of C: it has fields beyond its items
        return None if is_record else Parts(list(value), [], _fields(value))
    if issubclass(origin, dict):
        return Parts([], list(dict.items(value)), _fields(value))
    fields = _fields(value) if origin is object and kind.__new__ is object.__new__ else {}
    return Parts([], [], fields) if fields else None


def put_together(kind: type[Any], parts: Parts) -> Any:
    """An object of the type that holds the parts: the inverse of `taken_apart`."""
    origin = _origin(kind)
    value: Any = origin.__new__(kind, parts.items) if issubclass(origin, tuple) else origin.__new__(kind)
    if issubclass(origin, list):
        origin.extend(value, parts.items)
    elif issubclass(origin, dict):
        origin.update(value, parts.entries)
    for name, one in parts.fields.items():
        object.__setattr__(value, name, one)  # of a frozen data class too
    return value


def mapped(function: Callable[[torch.Tensor], Any], value: Any, depth: int = 0) -> Any:
    """The same tree with the function's results in place of its tensors."""
    if isinstance(value, torch.Tensor):
        return function(value)
    parts = taken_apart(value) if depth < MAX_DEPTH else None
    if parts is None:
        return value
    inner = [mapped(function, one, depth + 1) for one in parts.items]
    entries = [(key, mapped(function, one, depth + 1)) for key, one in parts.entries]
    fields = {name: mapped(function, one, depth + 1) for name, one in parts.fields.items()}
    return put_together(type(value), Parts(inner, entries, fields))


def found_in(value: Any, kind: type[T], depth: int = 0) -> Iterator[T]:
    """Everything of one type in a tree, in the order in which `mapped` goes through it."""
    if isinstance(value, kind):
        yield value
    elif depth < MAX_DEPTH and (parts := taken_apart(value)) is not None:
        for one in (*parts.items, *(one for _, one in parts.entries), *parts.fields.values()):
            yield from found_in(one, kind, depth + 1)


def _origin(kind: type[Any]) -> Any:  # of what type it is shows at run time only
    """The type of C whose memory the type's objects have; `type(None)` where that cannot be taken apart."""
    origin = next(one for one in kind.__mro__ if not _is_of_a_class_statement(one))
    return origin if origin in {list, tuple, dict, OrderedDict, object} else type(None)


def _is_of_a_class_statement(kind: type[Any]) -> bool:
    """Whether objects of the type hold nothing more than its base's, a dictionary, weak references and named slots.

    A type of C may be made at run time, too, as `defaultdict` is since Python 3.12, and holds what nobody can ask for.
    """
    base = kind.__base__
    if base is None or not kind.__flags__ & _HEAP_TYPE or kind.__flags__ & _IMMUTABLE_TYPE:
        return False
    known = len(_slots(kind)) + sum(
        bool(getattr(kind, name)) and not getattr(base, name) for name in ("__dictoffset__", "__weakrefoffset__")
    )
    return kind.__basicsize__ - base.__basicsize__ <= _POINTER_BYTES * known


def _fields(value: Any) -> dict[str, Any]:
    """Attributes of this one object: its dictionary, and slots that a class statement named."""
    names = [name for one in type(value).__mro__ for name in _slots(one)]
    held = {name: getattr(value, name) for name in names if hasattr(value, name)}
    return {**held, **getattr(value, "__dict__", {})}


def _slots(kind: type[Any]) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in {"__dict__", "__weakref__"}]
