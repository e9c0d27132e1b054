"""Which files below a folder may hold a measurement; a place that cannot be looked into is named, not passed over.

Links to folders are followed, after everything else; each real folder is read once, so a ring of links has an end.
"""

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

PARTS: Mapping[str, frozenset[str]] = {
    "scenarios": frozenset({"bench.json", "machine.json"}),
    "cells": frozenset({"comparison.json", "summary.json"}),
    "checkpoints": frozenset({"run.json"}),
}
"""Folders inside a run's that hold no result of their own, and files beside them one of which tells such a run."""
SIDECARS = ("machine.json", "comparison.json", ".done.json")
"""Ends of the names of files beside a measurement: read with it, or saying only what was asked for or is done."""
Refuse = Callable[[Path, str], None]


def candidates(folder: Path, refuse: Refuse) -> list[Path]:
    """Files whose name says JSON, in the order of their names; `refuse(path, reason)` is told what cannot be seen."""
    waiting, links, found = [folder], list[Path](), list[Path]()
    seen: set[tuple[int, int]] = set()
    while waiting or links:
        place = waiting.pop() if waiting else links.pop(0)
        facts = place.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        for one in _inside(place, refuse):
            if _is_folder(one, refuse):
                (links if one.is_symlink() else waiting).append(one)
            elif one.suffix == ".json" and not one.name.endswith(SIDECARS):
                found.append(one)
    return sorted(found)


def _inside(place: Path, refuse: Refuse) -> list[Path]:
    """What a folder holds, hidden things and parts of a run aside."""
    try:
        found = sorted(one for one in place.iterdir() if not one.name.startswith("."))
    except OSError as error:
        refuse(place, f"it cannot be read ({error.strerror})")
        return []
    names = {one.name for one in found}
    return [one for one in found if names.isdisjoint(PARTS.get(one.name, ()))]


def _is_folder(path: Path, refuse: Refuse) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if path.suffix != ".json":  # else whoever opens it says so
            refuse(path, f"it cannot be looked into ({error.strerror})")
        return False
