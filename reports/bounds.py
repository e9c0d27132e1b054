"""Ratios of which only a bound is known, because a loss lies outside of those that the baseline's lengths reached.

The truth then lies "above" the stored value, or "below" it; a mean over several such ratios may have both.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

ABOVE, BELOW = "above", "below"
_WORDS: Mapping[frozenset[str], str] = {
    frozenset(): "",
    frozenset({ABOVE}): " or more",
    frozenset({BELOW}): " or less",
    frozenset({ABOVE, BELOW}): " (of bounds both ways)",
}


def bounds_of(ratios: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Where the truth may lie of those stored ratios that are only bounds."""
    return frozenset(str(one["bound"]) for one in ratios if one.get("bound"))


def direction(bounds: Collection[str]) -> str:
    """The same in words, to stand behind a value."""
    return _WORDS[frozenset(bounds)]


def truth_between(value: float, bounds: Collection[str]) -> tuple[float | None, float | None]:
    """How far the truth may lie from a value that rests on bounds; None, None where it rests on none."""
    if not bounds:
        return None, None
    return -math.inf if BELOW in bounds else value, math.inf if ABOVE in bounds else value
