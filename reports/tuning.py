"""How the settings of a comparison's arms were found, and so what a ratio between them is worth.

A search leaves the learning rate's bracket closed where the best rate lies between two worse ones. Where it is open, or
where nothing was searched, a better setting may exist: such a ratio is shown, but it is no target's value.
"""

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

SEARCHED = ("tuned", "cached")
"""Sources of settings that trials decided: of this comparison, or of an earlier one."""


class Standing(IntEnum):
    """How well settings were searched, the best first: of two arms the larger holds for their ratio."""

    CLOSED = 0
    OPEN = 1
    UNTUNED = 2


BASELINES = {
    Standing.CLOSED: "tuned baseline",
    Standing.OPEN: "baseline, learning-rate bracket open",
    Standing.UNTUNED: "baseline, not tuned",
}
"""What the baseline may be called."""
LACKS = {Standing.CLOSED: "tuned", Standing.OPEN: "learning-rate bracket open", Standing.UNTUNED: "not tuned"}


def standing(tuned: Mapping[str, Any] | None) -> Standing:
    """Of stored settings; None are untuned ones."""
    if tuned is None or tuned.get("source") not in SEARCHED or tuned.get("bracket_closed") is None:
        return Standing.UNTUNED
    return Standing.CLOSED if tuned["bracket_closed"] is True else Standing.OPEN


def of_baseline(workload: Mapping[str, Any]) -> Standing:
    """Of the baseline on a stored workload."""
    return standing((workload["baseline"] or {}).get("tuned"))


def of_optimizer(workload: Mapping[str, Any], arm: str) -> Standing:
    """Of an arm's inner optimizer by itself, where several were compared; else of the baseline."""
    alone = workload.get("optimizers") or {}
    name = workload["arms"][arm].get("optimizer")
    return standing((alone[name] or {}).get("tuned")) if name in alone else of_baseline(workload)


def of_arm(workload: Mapping[str, Any], arm: str) -> Standing:
    """Of an arm's own settings; controls and calibrations have none and train with the baseline's."""
    found = workload["arms"][arm]
    if found["role"] != "method" and found["tuned"] is None:
        return of_baseline(workload)
    return standing(found["tuned"])


def of_pair(workload: Mapping[str, Any], arm: str) -> Standing:
    """Of an arm's ratio to the baseline, and to its own inner optimizer."""
    return max(of_baseline(workload), of_optimizer(workload, arm), of_arm(workload, arm))


def of_overall(workloads: Mapping[str, Mapping[str, Any]], arm: str) -> Standing:
    """Of an arm's ratio over all workloads: that of the least searched."""
    return max(of_pair(one, arm) for one in workloads.values())


def lack(workload: Mapping[str, Any], arm: str) -> str:
    """What a ratio lacks, e.g. "baseline not tuned, arm learning-rate bracket open"; "" if nothing."""
    base, inner, own = of_baseline(workload), of_optimizer(workload, arm), of_arm(workload, arm)
    found, role = workload["arms"][arm], workload["arms"][arm]["role"]
    sides = {
        "baseline": base,
        str(found.get("optimizer")): inner
        if role != "peer" and not _is_on_baseline(workload, arm)
        else Standing.CLOSED,
        "arm": own if role in ("method", "peer") else Standing.CLOSED,
    }
    return ", ".join(f"{side} {LACKS[one]}" for side, one in sides.items() if one is not Standing.CLOSED)


def _is_on_baseline(workload: Mapping[str, Any], arm: str) -> bool:
    """Its inner optimizer is the baseline's, the first of those compared."""
    alone = workload.get("optimizers") or {}
    return workload["arms"][arm].get("optimizer") in (None, *list(alone)[:1])


def bracket(tuned: Mapping[str, Any]) -> str:
    """Both sides of the learning rate's bracket in words."""
    found = standing(tuned)
    if found is Standing.UNTUNED:
        return "not tuned"
    if found is Standing.CLOSED:
        return "closed on both sides"
    rates = _rates(tuned.get("trials") or [])
    if not rates:
        return "open"
    best = min(rates, key=lambda rate: rates[rate])
    if not math.isfinite(rates[best]):
        return "open, every trial diverged"
    sides = [side for side, end in (("below", min(rates)), ("above", max(rates))) if best == end]
    return f"open {' and '.join(sides)}".strip()


def _rates(trials: list[Mapping[str, Any]]) -> dict[float, float]:
    """Losses by learning-rate factor of the trials that differ from the first in nothing else."""
    alike = [one for one in trials if all(one[name] == trials[0][name] for name in ("shape", "memory"))]
    return {one["lr_factor"]: math.inf if one["loss"] is None else float(one["loss"]) for one in alike}
