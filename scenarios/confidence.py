"""Probability that a jump is worth something: asked again within a step, and for the first time after one."""

import time
from dataclasses import fields, replace
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.config import HybridConfig
from hpt.history import StepStats
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.protocol import ForkOutcome, MeasuredValue
from hpt_scenarios.synthetic_run import CYCLE_STEPS, Event, blocks_of, synthetic_run

if TYPE_CHECKING:
    from hpt.predictors.selector import PolicySelector

_NUM_STEPS = 12 * CYCLE_STEPS
_MAX_HORIZON = 75
SETTLE_STEPS = 60
HALF = "half"


class _Run:
    """The shipped predictor after a run in which it saw jumps turn out good and bad, and the trend beside it."""

    def __init__(self, preset: Preset) -> None:
        from hpt.optimizers.traits import UNKNOWN
        from hpt.predictors.selector import build

        config = HybridConfig.from_dict({"learner": {"dims": preset.value}, "total_steps": 100 * CYCLE_STEPS})
        self.selector: PolicySelector = build("rssm", config, UNKNOWN)
        self._trend = LossTrend(max(config.max_horizon, CYCLE_STEPS), self.selector.far)
        for event in synthetic_run(_NUM_STEPS):
            self.feed(event)

    def feed(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, StepStats):
            self.selector.observe(event, self._trend.observe(event.loss))
        elif isinstance(event, CycleStats):
            self.stats = event
            self.selector.end_cycle(event, self._trend)
            self.selector.propose(event, self._trend, _MAX_HORIZON)
        else:
            self.selector.judge(event)


def _single(block: StepStats, at: int) -> StepStats:
    """A block of one step of a block."""
    return replace(block, **{one.name: getattr(block, one.name)[at : at + 1] for one in fields(StepStats)})


def cached(preset: Preset) -> Measured:
    """Ask again within the step."""
    selector = _Run(preset).selector
    selector.confidence()
    return Measured(call=selector.confidence, check=partial(_check_cached, selector))


def _check_cached(selector: "PolicySelector") -> None:
    first = selector.confidence()
    require(first is not None and 0 < first < 1, "it is a probability")
    require(selector.confidence() is first, "asked again within a step, it is the same object")


def uncached(preset: Preset) -> Measured:
    """Ask for the first time after a step; the step itself is not counted."""
    run = _Run(preset)
    steps = [_single(block, at) for block in blocks_of(_NUM_STEPS, seed=1) for at in range(CYCLE_STEPS)]
    return Measured(time_loops=partial(_time_uncached, run, steps), check=partial(_check_uncached, run, steps[:5]))


def _time_uncached(run: _Run, steps: list[StepStats], loops: int) -> float:
    total_s = 0.0
    for one in islice(cycle(steps), loops):
        run.feed(one)
        began = time.perf_counter()
        run.selector.confidence()
        total_s += time.perf_counter() - began
    return total_s


def _check_uncached(run: _Run, steps: list[StepStats]) -> None:
    selector = run.selector
    chooser = selector.chooser
    assert chooser is not None, "it decides by value"
    seen = list[float | None]()
    for step, one in enumerate(steps):
        run.feed(one)
        seen.append(selector.confidence())
        require(seen[-1] == chooser.confidence(selector.forecasts.raw_features), "it is that of the present belief")
        measured = MeasuredValue((0.001 * (step + 1),) * SETTLE_STEPS, 3, SETTLE_STEPS)
        selector.settle(ForkOutcome(run.stats.step, run.stats, {HALF: measured}))
    require(len(set(seen)) == len(seen), "it is another one after every fork")


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
        summary="Ask for the confidence after a new step: belief, this run's forks, calibration.",
        unit="question",
        set_up=uncached,
        timed_frac=0.1,
    ),
)
