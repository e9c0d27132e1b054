"""Confidence in a jump: asked again within a step (cached), and for the first time after one (uncached)."""

import time
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts, StepFacts
from scenarios.made_up_run import CYCLE_STEPS, NUM_GROUPS, Fact, made_up_run, steps_of

if TYPE_CHECKING:
    from hpt.predictors.chooser import LearnedChooser

_NUM_STEPS = 12 * CYCLE_STEPS
_MAX_HORIZON = 75


def _chooser(preset: Preset) -> "LearnedChooser":
    """The shipped predictor after a run in which it saw jumps turn out good and bad."""
    from hpt.predictors.rssm import build

    chooser = build(HybridConfig.from_dict({"learner": {"dims": preset.value}}), NUM_GROUPS)
    for fact in made_up_run(_NUM_STEPS):
        _feed(chooser, fact)
    return chooser


def _feed(chooser: "LearnedChooser", fact: Fact) -> None:
    if isinstance(fact, StepFacts):
        chooser.observe(fact)
    elif isinstance(fact, CycleFacts):
        chooser.end_cycle(fact)
        chooser.propose(fact, _MAX_HORIZON)
    else:
        chooser.judge(fact)


def cached(preset: Preset) -> Measured:
    """Ask again within the step."""
    chooser = _chooser(preset)
    chooser.confidence()
    return Measured(call=chooser.confidence, check=partial(_check_cached, chooser))


def _check_cached(chooser: "LearnedChooser") -> None:
    first = chooser.confidence()
    require(0 < first < 1, "it is a probability")
    require(chooser.confidence() is first, "asked again within a step, it is the same object")


def uncached(preset: Preset) -> Measured:
    """Ask for the first time after a step; the step itself is not counted."""
    chooser, steps = _chooser(preset), steps_of(_NUM_STEPS, seed=1)
    return Measured(
        time_loops=partial(_time_uncached, chooser, steps), check=partial(_check_uncached, chooser, steps[:5])
    )


def _time_uncached(chooser: "LearnedChooser", steps: list[StepFacts], loops: int) -> float:
    total_s = 0.0
    for facts in islice(cycle(steps), loops):
        chooser.observe(facts)
        began = time.perf_counter()
        chooser.confidence()
        total_s += time.perf_counter() - began
    return total_s


def _check_uncached(chooser: "LearnedChooser", steps: list[StepFacts]) -> None:
    seen: list[float] = []
    for facts in steps:
        chooser.observe(facts)
        seen.append(chooser.confidence())
        again = chooser.calibrator.calibrated(chooser.models[chooser.name].success())
        require(again == seen[-1], "it is the calibrated probability of the present state")
    require(len(set(seen)) == len(seen), "it is another one after every step")


SCENARIOS = (
    Scenario(
        group="confidence",
        name="cached",
        summary="Ask for the confidence again within a step.",
        unit="question",
        set_up=cached,
    ),
    Scenario(
        group="confidence",
        name="uncached",
        summary="Ask for the confidence after a new step: all heads, their mean, calibration.",
        unit="question",
        set_up=uncached,
        timed_frac=0.1,
    ),
)
