"""Comparisons and training runs that keep what was decided: made by hand, in the shape that the harness gives them."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from references.known_results import make_result
from references.stored_optimizers import several

from hpt.compare.cells import CellResult
from hpt.compare.readings import decisions, fork_values
from hpt.jump.policy import POLICIES
from hpt.records import DecisionRecord, ForkRecord, jsonable

T = 1000
BASES = {"hybrid": "adam-plain, prior of 12 runs", "hybrid-muon": "muon-plain, prior of 5 runs of muon"}
BEFORE = (0.01, 0.04, 0.03, 0.06, 0.02, 0.05)
"""Means before any fork, in the order of `POLICIES`."""


def decided(step: int, policy: str, means: tuple[float, ...], sd: float, basis: str) -> DecisionRecord:
    """A decision in which all standard deviations are alike, with the words of a chooser."""
    best = max(zip(means, POLICIES, strict=True))
    played = "no jumps" if policy == "none" else policy
    why = f"{played}: {basis}; {best[1]} is worth {best[0]:+.3f} +- {sd:.3f} in log work ratio"
    by_name = dict(zip(POLICIES, means, strict=True))
    return DecisionRecord(step, step / T, policy, by_name, dict.fromkeys(POLICIES, sd), why)


def forked(step: int, policy: str, value: float, value_se: float, *, goes_on: bool) -> ForkRecord:
    """A fork of three jumps."""
    return ForkRecord(step, 90, 3, policy, value, value_se, goes_on=goes_on)


Told = tuple[tuple[DecisionRecord, ...], tuple[ForkRecord, ...]]
"""What a run decided and measured."""


def told(basis: str) -> dict[int, Told]:
    """By seed: two alike with a fork that does not go on, one that goes on, one that is broken; one without jumps."""
    first = decided(200, "half-kept", BEFORE, 0.06, basis)
    lost = (first, decided(300, "half-kept", (0.01, 0.03, 0.02, 0.045, -0.06, -0.01), 0.035, basis))
    won = (
        first,
        decided(400, "full-kept", (0.02, 0.05, 0.04, 0.07, 0.05, 0.11), 0.04, basis),
        decided(650, "full-kept", (-0.03, 0.05, -0.05, 0.06, 0.04, 0.1), 0.035, basis),
    )
    none = (decided(200, "none", (-0.04, -0.03, -0.05, -0.02, -0.09, -0.04), 0.03, basis),)
    full = forked(300, "full", -0.0028, 0.0005, goes_on=False)
    kept = forked(400, "full-kept", 0.004, 0.001, goes_on=True)
    broken = forked(600, "half", -math.inf, math.nan, goes_on=False)
    return {0: (lost, (full,)), 1: (lost, (full,)), 2: (none, ()), 3: (won, (kept, broken))}


def comparison_that_decided(arms: Mapping[str, str] = BASES) -> dict[str, Any]:
    """AdamW and Muon on mlp and cnn; on mlp the hybrids decided.

    Args:
        arms: what the beliefs of each began with.
    """
    document = several()
    for name, basis in arms.items():
        results = {seed: _result(*one) for seed, one in told(basis).items()}
        kept = {"decisions": decisions(results), "jump_values": fork_values(results)}
        document["workloads"]["mlp"]["arms"][name] |= jsonable(kept)
    return document


def _result(made: tuple[DecisionRecord, ...], forks: tuple[ForkRecord, ...]) -> CellResult:
    values = {"decisions": [asdict(one) for one in made]}
    return make_result(2.0, T, values=values, forks=[asdict(one) for one in forks])
