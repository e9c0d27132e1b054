"""What a stored file must hold so that a page can be written from it; whatever is otherwise is named by its place.

A shape is written as the value looks: a type, `{"field": shape}`, `{"field?": shape}` where the field may be absent,
`[shape]`, `(shape, shape)` for a list of that length, `Each(shape)` for an object with any names, `Maybe(shape)` for
null as well, a function from the value to its shape where one part decides about another. `float` takes whole numbers.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 40
_WORDS: Mapping[type, str] = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Each:
    """An object whose members all have one shape, whatever their names."""

    shape: Any


@dataclass(frozen=True, slots=True)
class Maybe:
    """A shape, or null."""

    shape: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """A value of a shape that a further test holds for; the test is asked only where the shape fits."""

    shape: Any
    holds: Callable[[Any], bool]
    words: str


POSITIVE = Rule(float, lambda value: 0.0 < value < math.inf, "above 0")


def misfit(value: Any, shape: Any, place: str = "") -> str | None:
    """The first thing in which a value falls short of a shape, e.g. "parts.cost_ratio is 'much', not a number"."""
    found = next(_misfits(value, shape, place), None)
    return f"it{found}" if found is not None and found.startswith(" ") else found


def _misfits(value: Any, shape: Any, place: str) -> Iterator[str]:
    match shape:
        case type():
            if not _is(value, shape):
                yield f"{place} is {_shown(value)}, not {_WORDS[shape]}"
        case Maybe():
            if value is not None:
                yield from _misfits(value, shape.shape, place)
        case Rule():
            found = list(_misfits(value, shape.shape, place))
            yield from found
            if not found and not shape.holds(value):
                yield f"{place} is {_shown(value)}, not {shape.words}"
        case list() | tuple():
            yield from _in_list(value, shape, place)
        case dict() | Each():
            yield from _in_object(value, shape, place)
        case _:
            yield from _misfits(value, shape(value), place)


def _is(value: Any, kind: type) -> bool:
    if kind is object:
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _in_list(value: Any, shape: list[Any] | tuple[Any, ...], place: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place} is {_shown(value)}, not a list"
    elif isinstance(shape, tuple) and len(value) != len(shape):
        yield f"{place} has {len(value)} members, not {len(shape)}"
    else:
        shapes = shape if isinstance(shape, tuple) else shape * len(value)
        for index, (one, wanted) in enumerate(zip(value, shapes, strict=True)):
            yield from _misfits(one, wanted, f"{place}[{index}]")


def _in_object(value: Any, shape: dict[str, Any] | Each, place: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{place} is {_shown(value)}, not an object"
        return
    wanted = shape if isinstance(shape, dict) else dict.fromkeys(value, shape.shape)
    for name, inner in wanted.items():
        known = name.removesuffix("?") if isinstance(shape, dict) else name
        inside = f"{place}.{known}" if place else known
        if known in value:
            yield from _misfits(value[known], inner, inside)
        elif not name.endswith("?"):
            yield f"{inside} is missing"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
