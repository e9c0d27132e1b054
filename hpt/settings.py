"""One setting: a dataclass field that carries its unit, range, choices and source, and refuses nonsense at birth."""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from hpt.errors import ConfigError

MOST = 2**63 - 1  # what torch, numpy and a checkpoint can hold of an integer


def setting(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    source: str = "",
) -> Any:
    """Declare a setting with its meaning, unit, inclusive range or choices, and the origin of its default.

    Range and choices are those of every value of a table.
    """
    facts = {
        "meaning": meaning,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "source": source,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=cast("dict[str, str]", default).copy, metadata=facts)
    if dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=type(default), metadata=facts)  # pyright: ignore[reportUnknownArgumentType]
    return dataclasses.field(default=default, metadata=facts)


class Settings:
    """Mix-in for frozen dataclasses of settings: checks on construction, dictionaries in and out."""

    _path = ""

    def __post_init__(self) -> None:
        """Raise ConfigError naming field, value, rule and remedy when a value is out of place."""
        hints = get_type_hints(type(self))
        for item in dataclasses.fields(cast("Any", self)):
            name = f"{self._path}{item.name}"
            value = getattr(self, item.name)
            _check(name, value, hints[item.name], item.metadata)
            if isinstance(value, dict):  # the caller's own may change
                object.__setattr__(self, item.name, dict(cast("dict[str, object]", value)))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary; None where a setting is left to the trainer."""
        return dataclasses.asdict(cast("Any", self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Any":
        """Build from a nested dictionary; an unknown key is refused with the nearest known one."""
        fields = {item.name: item for item in dataclasses.fields(cast("Any", cls))}
        hints = get_type_hints(cls)
        arguments: dict[str, Any] = {}
        for key, value in values.items():
            if key not in fields:
                raise ConfigError(unknown(f"{cls._path}{key}", key, list(fields)))
            kind = hints[key]
            if isinstance(kind, type) and issubclass(kind, Settings):
                if not isinstance(value, Mapping):
                    raise ConfigError(f"{key} is {value!r}, but it is a group; write it as a table [{key}]")
                arguments[key] = kind.from_dict(cast("Mapping[str, Any]", value))
            else:
                arguments[key] = value
        return cls(**arguments)


def unknown(path: str, key: str, known: Sequence[str]) -> str:
    """What is said of a key that no table of settings has, with the nearest known one."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"{path} is no setting; {hint}"


def _check(name: str, value: object, kind: object, facts: Mapping[str, Any]) -> None:
    if isinstance(value, Settings):
        return
    allowed = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in allowed:
        return
    wanted = " or ".join(_type_name(one) for one in allowed)
    if not any(_is_of(value, one) for one in allowed):
        raise ConfigError(f"{name} is {value!r} of type {type(value).__name__}, it must be {wanted}; change it")
    for place, one in _members(name, value):
        _check_range(place, one, facts)


def _members(name: str, value: object) -> list[tuple[str, object]]:
    """Name and value of what the range is of."""
    if isinstance(value, dict):
        return [(f"{name}.{key}", one) for key, one in cast("dict[str, object]", value).items()]
    return [(name, value)]


def _is_of(value: object, kind: object) -> bool:
    """A value of that type: an int is a float, too, a bool is neither, and of a dict all members count."""
    if get_origin(kind) is dict:
        of_key, of_value = get_args(kind)
        entries = cast("dict[object, object]", value).items() if isinstance(value, dict) else None
        return entries is not None and all(_is_of(key, of_key) and _is_of(one, of_value) for key, one in entries)
    accepted = (int, float) if kind is float else kind
    return isinstance(value, cast("Any", accepted)) and (kind is bool or not isinstance(value, bool))


def _type_name(kind: object) -> str:
    if get_origin(kind) is dict:
        return f"a table from names in quotes to {_type_name(get_args(kind)[1])}"
    return getattr(kind, "__name__", str(kind))


def _check_range(name: str, value: object, facts: Mapping[str, Any]) -> None:
    low, high, choices, unit = (
        facts.get("low"),
        facts.get("high"),
        facts.get("choices"),
        facts.get("unit", ""),
    )
    if choices is not None and value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(choices)}"
        raise ConfigError(f"{name} is {value!r}, which is not among its choices; {hint}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{name} is {value!r}, it must be finite; give a number")
        if isinstance(value, int) and high is None:
            high = MOST
        if low is not None and value < low:
            raise ConfigError(f"{name} is {value!r}{_unit(unit)}, below its least value {low}; raise it")
        if high is not None and value > high:
            raise ConfigError(f"{name} is {value!r}{_unit(unit)}, above its greatest value {high}; lower it")


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
