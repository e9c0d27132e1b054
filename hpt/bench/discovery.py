"""Finding scenarios: by entry point, by `package.module:NAME`, and the near ones when a name is mistaken.

A plug-in that cannot be imported takes nothing else down: it is reported as broken, and the rest is usable.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from hpt.bench.scenario import Scenario
from hpt.errors import HptError, UsageError
from hpt.plugins import failures_named, load_plugin

SCENARIOS = "hpt.scenarios"
ALL = "all"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Located:
    """A scenario and the `package.module:NAME` from which a worker process can load it."""

    source: str
    scenario: Scenario

    @property
    def full_name(self) -> str:
        """GROUP/NAME."""
        return self.scenario.full_name


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that was found.

    Attributes:
        scenarios: in the order of the entry points' names and of their files.
        broken: why, by the name of a plug-in that cannot be loaded.
    """

    scenarios: tuple[Located, ...]
    broken: dict[str, str]


def load_source(source: str) -> tuple[Scenario, ...]:
    """The scenarios that `package.module:NAME` names.

    Raises:
        HptError: it cannot be imported, or is neither a scenario nor a sequence of them.
    """
    with failures_named(f"scenarios {source} cannot be loaded"):
        found = load_plugin(source)
    several: tuple[object, ...] = (found,) if isinstance(found, Scenario) else _sequence(source, found)
    return tuple(_checked(source, one) for one in several)


def _sequence(source: str, found: object) -> tuple[object, ...]:
    if isinstance(found, Sequence) and not isinstance(found, str):
        return tuple(found)  # pyright: ignore[reportUnknownArgumentType] - each is checked next
    raise HptError(f"scenarios {source} is a {type(found).__name__}; it must be a Scenario or a sequence of them")


def _checked(source: str, found: object) -> Scenario:
    if not isinstance(found, Scenario):
        raise HptError(f"scenarios {source} holds a {type(found).__name__}; each must be a hpt.bench.scenario.Scenario")
    if not (_NAME.fullmatch(found.group) and _NAME.fullmatch(found.name)):
        raise HptError(f"scenario {found.full_name!r} of {source}: use letters, digits, '_', '.', '-' in both names")
    return found


def find_scenarios() -> Catalogue:
    """Everything that is announced in the entry-point group `hpt.scenarios`."""
    located: list[Located] = []
    broken: dict[str, str] = {}
    for entry in sorted(entry_points(group=SCENARIOS), key=lambda entry: entry.name):
        located += _loaded(entry.value, broken, entry.name)
    return Catalogue(_without_repeats(located, broken), broken)


def _loaded(source: str, broken: dict[str, str], name: str | None = None) -> list[Located]:
    """The scenarios of one plug-in; if it cannot be loaded, none, and a word about it in `broken`."""
    try:
        return [Located(source, one) for one in load_source(source)]
    except HptError as error:
        broken[name or source] = str(error)
        return []


def _without_repeats(located: Iterable[Located], broken: dict[str, str]) -> tuple[Located, ...]:
    """The first of each name; a later one of the same name is a broken plug-in."""
    by_name: dict[str, Located] = {}
    for one in located:
        first = by_name.setdefault(one.full_name, one)
        if first is not one:
            broken[one.source] = f"scenario {one.full_name} of {one.source} is already in {first.source}; rename it"
    return tuple(by_name.values())


def choose(catalogue: Catalogue, targets: Sequence[str]) -> tuple[tuple[Located, ...], dict[str, str]]:
    """The scenarios that the words of a command line name, each once, and the broken plug-ins among them.

    Args:
        catalogue: what there is.
        targets: "all", a group, a full name, or `package.module:NAME`.

    Raises:
        UsageError: a word names nothing.
    """
    chosen: dict[str, Located] = {}
    broken: dict[str, str] = {}
    for target in targets:
        if target == ALL:
            broken |= catalogue.broken
        for one in _named(catalogue, target, broken):
            chosen.setdefault(one.full_name, one)
    return tuple(chosen.values()), broken


def _named(catalogue: Catalogue, target: str, broken: dict[str, str]) -> list[Located]:
    if ":" in target:
        return _loaded(target, broken)
    if target in catalogue.broken:
        broken[target] = catalogue.broken[target]
        return []
    found = [one for one in catalogue.scenarios if target in {ALL, one.scenario.group, one.full_name}]
    if found or target == ALL:
        return found
    names = [name for one in catalogue.scenarios for name in (one.full_name, one.scenario.group)]
    near = difflib.get_close_matches(target, dict.fromkeys(names), n=3, cutoff=0.5)
    near = near or [name for name in dict.fromkeys(names) if target.lower() in name.lower()][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "see hpt bench list"
    raise UsageError(f"scenario {target!r} is unknown; {hint} (your own: package.module:NAME)")
