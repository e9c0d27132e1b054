"""Which questions a comparison asks, what its seeds say to them so far, and what the rest of them will cost.

A question is a work ratio: of every method over the reference by itself, and of the hybrid on the best optimizer over
that optimizer by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpt.compare.alpha_spending import Looks
from hpt.compare.judging import hybrid_on_best
from hpt.compare.ratios import Ratio, log_of
from hpt.compare.readings import TaskReading
from hpt.compare.resolution import SeedPlan, effort, plan_all
from hpt.compare.stopping import Answer, answers
from hpt.compare.widening import widened


def questions(readings: Sequence[TaskReading]) -> dict[str, Ratio]:
    """The work ratios that are to be resolved, by a name such as "hybrid on mlp"."""
    found: dict[str, Ratio] = {}
    for one in readings:
        methods = [arm.name for arm in one.arms if arm.role == "method" and arm.name in one.measures]
        found |= {f"{name} on {one.task.workload}": one.measures[name].work_ratio for name in methods}
        best = hybrid_on_best(one)
        if best is not None and best.name in one.own and best.optimizer != one.arms[0].optimizer:
            name = f"{best.name} over {best.optimizer} by itself on {one.task.workload}"
            found[name] = one.own[best.name].work_ratio
    return found


def widened_readings(readings: Sequence[TaskReading], looks: Looks) -> list[TaskReading]:
    """The same with intervals that hold although one looked after every seed."""
    return [
        replace(
            one,
            measures={name: widened(measures, looks) for name, measures in one.measures.items()},
            own={name: widened(measures, looks) for name, measures in one.own.items()},
        )
        for one in readings
    ]


def forecast(
    readings: Sequence[TaskReading], resolution: float, looks: Looks, seed_s: Sequence[float], *, jobs: int
) -> list[str]:
    """What the wanted resolution takes, in words: seeds of every question, then cells and time of them all.

    Args:
        readings: of the pilot.
        resolution: wanted, .03 for 3 %.
        looks: as planned.
        seed_s: seconds of every cell of a seed.
        jobs: cells at once.
    """
    ratios = questions(readings)
    plans, refused = plan_all({name: _logs(ratio) for name, ratio in ratios.items()}, resolution, looks)
    lines = [*(one.sentence for one in plans), *refused.values()]
    num_done = max((one.num_pilot for one in plans), default=0)
    most = max((_seeds_within(one, looks) for one in plans), default=num_done)
    cost = effort(most, seed_s, num_done=num_done, jobs=jobs)
    return [*lines, f"to go at most: {most - num_done} paired seeds, {cost.words}; it stops as soon as all are settled"]


def _seeds_within(plan: SeedPlan, looks: Looks) -> int:
    return min(looks.planned, plan.num_seeds or looks.planned)


def _logs(ratio: Ratio) -> list[float]:
    return [log_of(one) for one in ratio.by_seed]


def documents(found: Sequence[Answer]) -> list[dict[str, Any]]:
    """The answers as JSON values, for `resolution.answers` of summary.json."""
    return [_document(one) for one in found]


def _document(one: Answer) -> dict[str, Any]:
    interval = one.interval
    ends = (None, None, None) if interval is None else (interval.value, interval.low, interval.high)
    named: Mapping[str, Any] = dict(zip(("value", "low", "high"), (_exp(end) for end in ends), strict=True))
    about = {"name": one.name, "num_seeds": one.num_seeds, "settled": one.settled, "sentence": one.sentence}
    return {**about, **named}


def _exp(log: float | None) -> float | None:
    return None if log is None else math.exp(log)


def settled(readings: Sequence[TaskReading], resolution: float, looks: Looks) -> list[Answer]:
    """What the seeds so far say to every question."""
    return answers(questions(readings), resolution, looks)
