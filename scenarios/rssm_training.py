"""Learning from the run: whole blocks of the shipped cadence, as many cycles of K observations as share one replay.

A cycle shorter than the interval between updates leaves its update to a later one, so a block of fewer cycles would
time either no update or one too many.
"""

import time
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.config import HybridConfig
from hpt.learned.actions import action_vectors, tick_ends
from hpt.learned.features import FeatureEncoder
from hpt.learned.loss_trend import LossTrend
from hpt_scenarios.synthetic_run import CYCLE_STEPS, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpt.history import FloatArray
    from hpt.learned.forecast_model import ForecastModel, Vector

UPDATE_INTERVAL_STEPS = 600  # the shipped one, once a run is no longer young; reading it would import torch here
_CYCLES = -(-UPDATE_INTERVAL_STEPS // CYCLE_STEPS)  # from one replay to the next
BLOCK_STEPS = _CYCLES * CYCLE_STEPS
TICK_STEPS = 3  # of a cycle of fifty
_ENDS, _LENGTHS = tick_ends(CYCLE_STEPS, TICK_STEPS)
_WARM_BLOCKS = 6  # until the interval is the longest there is
_NUM_BLOCKS = 2  # of different steps, used in turn

Observations = tuple["Vector", "Vector", "FloatArray"]
"""Features and actions of one cycle's ticks, and the losses of its steps."""


class _Block:
    """The learner, the cycles it takes in, the trend that goes with them, and its furthest forecast in steps."""

    def __init__(self, learner: "ForecastModel", trend: LossTrend, cycles: list[Observations], far: int) -> None:
        self.learner, self._trend, self._horizon = learner, trend, far // TICK_STEPS
        self._source: Iterator[Observations] = cycle(cycles)

    def run(self) -> float:
        """Take in a block's cycles, learning at the end of each; seconds."""
        cycles = list(islice(self._source, _CYCLES))
        learner, trend = self.learner, self._trend
        began = time.perf_counter()
        for features, actions, losses in cycles:
            learner.tick(features, actions, losses[_ENDS], trend.observe(losses).level[_ENDS])
            learner.learn(*trend.curve(self._horizon, TICK_STEPS))
        return time.perf_counter() - began


def set_up(preset: Preset) -> Measured:
    """The shipped learner, with a replay that is warm."""
    from hpt.learned import learner
    from hpt.optimizers.traits import UNKNOWN
    from hpt.predictors.loss_forecasts import tick_steps_of
    from hpt.predictors.selector import build

    require(learner.UPDATE_INTERVAL_STEPS[1] == UPDATE_INTERVAL_STEPS, "a block is what shares one update")
    config = HybridConfig.from_dict({"learner": {"dims": preset.value}})
    require(tick_steps_of(config) == TICK_STEPS, "a tick is as long as in the trainer")
    selector = build("rssm", config, UNKNOWN)
    far = selector.far
    assert far is not None, "it forecasts"
    trend = LossTrend(max(config.max_horizon, CYCLE_STEPS), far)
    block = _Block(selector.forecasts.models["rssm"], trend, _observations(), far)
    for _ in range(_WARM_BLOCKS):
        block.run()
    return Measured(
        time_loops=lambda loops: sum(block.run() for _ in range(loops)),
        check=partial(_check, block),
        per_unit={"update": 1 / BLOCK_STEPS},
    )


def _observations() -> list[Observations]:
    """Cycles of a run that has been going on for a while, as the learner is told of them."""
    encoder = FeatureEncoder(CYCLE_STEPS)
    return [
        (
            encoder.observe_steps(steps)[_ENDS],
            action_vectors((1.0, 1.5), steps.steps_since_jump[_ENDS], CYCLE_STEPS, _LENGTHS),
            steps.loss,
        )
        for steps in blocks_of(_NUM_BLOCKS * BLOCK_STEPS)
    ]


def _check(block: _Block) -> None:
    before = block.learner.state_dict()
    ticks = block.learner.num_ticks
    block.run()
    after = block.learner.state_dict()
    require(block.learner.num_ticks == ticks + _CYCLES * len(_ENDS), "every tick of the block is observed")
    changed = [name for name, old in before["model"].items() if not bool((old == after["model"][name]).all())]
    require(len(changed) > len(before["model"]) / 2, "the learner's weights change")
    made = {
        int(moments["step"]) - int(before["optimizer"][name]["step"]) for name, moments in after["optimizer"].items()
    }
    require(made == {1}, "the block makes one update on every weight")
    require(
        not np.array_equal(before["replay"]["rows"]["losses"], after["replay"]["rows"]["losses"]),
        "the replay takes the steps in",
    )


SCENARIOS = (
    Scenario(
        group="rssm_training",
        name="observe_gradient",
        summary=f"A block of {BLOCK_STEPS} observed steps with their replay update, per observation.",
        unit="observation",
        set_up=set_up,
        inner_loops=BLOCK_STEPS,
    ),
)
