"""Every way in which one value of a stored document may be odd."""

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]
GONE = "(gone)"
VALUES: tuple[Any, ...] = (
    *(GONE, None, 7.5, -1, 0, True, "much", "", [], [1], {}, {"a": 1}, 1e300, -1e300, 1e-300, math.nan, 10**30),
    *("nan", "inf", "$x^{$<b>`|\n", "2026-99-99T00:00:00+00:00"),
)


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where every part of a document is; of lists the first two members."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*place, key)
        yield from places(one, (*place, key))


def damaged(document: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy with another value at a place; with none there for GONE."""
    found = copy.deepcopy(document)
    inner: Any = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = copy.deepcopy(value)
    if value == GONE:
        del inner[place[-1]]
    return found


def damages(document: dict[str, Any], count: int | None = None) -> Iterator[tuple[Place, dict[str, Any]]]:
    """All damaged copies and where they are damaged, or as many of them as were asked for, drawn by chance."""
    pairs = [(place, value) for place in places(document) for value in VALUES]
    chosen = pairs if count is None else random.Random(0).sample(pairs, min(count, len(pairs)))
    for place, value in chosen:
        yield place, damaged(document, place, value)


def is_named(place: Place, message: str) -> bool:
    """The message names a field on the way to the damage."""
    return any(name in message for name in place if isinstance(name, str))
