"""What was decided to be played and why, run by run: of a method of a comparison, or of a single training run.

A policy's worth is the logarithm of the work ratio of playing it through the whole window. Runs of one arm that decided
and measured the same are told once.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpt_reports.evidence import Source

NONE = "none"
"""The policy of a run that does not jump."""


@dataclass(frozen=True, slots=True)
class Decision:
    """From an update on a policy is played.

    Attributes:
        step: updates before it.
        policy: name.
        means: worth of every policy as it was believed.
        sds: standard deviation of that.
        why: sentence.
    """

    step: int
    policy: str
    means: Mapping[str, float]
    sds: Mapping[str, float]
    why: str

    @property
    def basis(self) -> str:
        """What the belief began with, the first part of the sentence: "muon-text, prior of 12 runs"."""
        return self.why.partition(": ")[2].partition("; ")[0]


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork measured of a policy.

    Attributes:
        step: updates before it.
        policy: name.
        value: loss saved a jump; not finite where the branch broke down.
        value_se: its standard error.
        goes_on: the run went on from the branch with jumps.
    """

    step: int
    policy: str
    value: float
    value_se: float
    goes_on: bool

    @property
    def is_broken(self) -> bool:
        """There is no number."""
        return not (math.isfinite(self.value) and math.isfinite(self.value_se))


@dataclass(frozen=True, slots=True)
class Story:
    """Decisions and forks, in the order of the run, of all seeds whose runs had the same."""

    seeds: tuple[int, ...]
    decisions: tuple[Decision, ...]
    forks: tuple[Fork, ...]

    @property
    def last(self) -> Decision:
        """What the run ended with."""
        return self.decisions[-1]


@dataclass(frozen=True, slots=True)
class Decided:
    """An arm on a workload.

    Attributes:
        source: where it is stored.
        workload, arm: names; of a single run the predictor's is the arm's.
        num_updates: of a run.
        num_runs: with and without decisions.
        stories: of runs with decisions.
    """

    source: Source
    workload: str
    arm: str
    num_updates: int
    num_runs: int
    stories: tuple[Story, ...]

    @property
    def runs(self) -> Iterator[tuple[int, Story]]:
        """Every run with decisions: its seed, and what it decided."""
        return ((seed, story) for story in self.stories for seed in story.seeds)


def decided_in(source: Source) -> list[Decided]:
    """Methods of a comparison that decided something, in its order."""
    return [
        Decided(source, workload, name, int(values["steps"]), _num_runs(arm), stories)
        for workload, values in source.document["workloads"].items()
        for name, arm in values["arms"].items()
        if arm["role"] == "method" and (stories := _stories(arm))
    ]


def decided_by(source: Source) -> Decided | None:
    """A training run; None if it decided nothing."""
    document = source.document
    values = (document.get("predictor") or {}).get("values") or {}
    decisions = _decisions(values.get("decisions") or [])
    if not decisions:
        return None
    played = {(one.step, one.policy) for one in decisions}
    forks = [
        Fork(one["step"], one["policy"], *_measured(one), goes_on=(one["step"], one["policy"]) in played)
        for one in values.get("measurements") or []
    ]
    story = Story((document["seed"],), decisions, _in_order(forks))
    name, predictor = document["workload"]["name"], document["config"]["predictor"]
    return Decided(source, name, predictor, int(document["settings"]["steps"]), 1, (story,))


def _measured(one: Mapping[str, Any]) -> tuple[float, float]:
    """Value and standard error; what is not known is not finite."""
    value, error = one.get("value"), one.get("value_se")
    return (-math.inf if value is None else float(value), math.nan if error is None else float(error))


def _stories(arm: Mapping[str, Any]) -> tuple[Story, ...]:
    """By the first seed of each; forks of runs without a decision are none of a decision's."""
    rows, forks = arm.get("decisions") or [], (arm.get("jump_values") or {}).get("forks") or []
    alike: dict[str, Story] = {}
    for seed in dict.fromkeys(int(row["seed"]) for row in rows):
        decisions = _decisions([row for row in rows if row["seed"] == seed])
        measured = _in_order([_fork(one) for one in forks if one["seed"] == seed and "policy" in one])
        told = json.dumps([[asdict(one) for one in each] for each in (decisions, measured)], sort_keys=True)
        before = alike.get(told, Story((), decisions, measured))
        alike[told] = Story((*before.seeds, seed), decisions, measured)
    return tuple(alike.values())


def _fork(one: Mapping[str, Any]) -> Fork:
    return Fork(one["step"], one["policy"], *_measured(one), goes_on=bool(one.get("goes_on")))


def _decisions(rows: Sequence[Mapping[str, Any]]) -> tuple[Decision, ...]:
    """In the order of the run."""
    found = [Decision(row["step"], row["policy"], row["means"], row["sds"], row["why"]) for row in rows]
    return tuple(sorted(found, key=lambda one: one.step))


def _in_order(forks: Sequence[Fork]) -> tuple[Fork, ...]:
    return tuple(sorted(forks, key=lambda one: one.step))


def _num_runs(arm: Mapping[str, Any]) -> int:
    """Of a comparison's arm: those measured, or those that decided where nothing was measured."""
    decided = {row["seed"] for row in arm["decisions"]}
    return len(decided | set((arm["measures"] or {}).get("seeds", ())))
