"""Learning from the run: whole blocks of the shipped cadence, as many cycles of K observations as share one replay.

A cycle shorter than `learner.update_interval_steps` leaves its updates to a later one, so a block of fewer cycles would
time either no update or one too many.
"""

import time
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.config import HybridConfig
from hpt.learned.features import FeatureEncoder
from hpt.learned.forecast import action_vector
from hpt.learned.loss_trend import LossTrend
from scenarios.made_up_run import NUM_GROUPS, SCALES, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpt.learned.forecast import ForecastModel, Vector

_CONFIG = HybridConfig()
_CYCLES = -(-_CONFIG.learner.update_interval_steps // _CONFIG.cycle_steps)  # from one replay to the next
BLOCK_STEPS = _CYCLES * _CONFIG.cycle_steps
_WARM_BLOCKS = 6  # until the replay holds whole windows with everything known
_NUM_BLOCKS = 8  # of different steps, used in turn

Observation = tuple["Vector", "Vector", float]
"""Features, action and loss of one step."""


class _Block:
    """The learner, the steps it takes in, and the trend that goes with them."""

    def __init__(self, learner: "ForecastModel", trend: LossTrend, observations: list[Observation]) -> None:
        self.learner, self._trend = learner, trend
        self._source: Iterator[Observation] = cycle(observations)

    def run(self) -> float:
        """Take in a block's cycles, learning at the end of each; seconds."""
        cycles = [list(islice(self._source, _CONFIG.cycle_steps)) for _ in range(_CYCLES)]
        learner, trend = self.learner, self._trend
        began = time.perf_counter()
        for observations in cycles:
            for features, action, loss in observations:
                trend.observe(loss)
                learner.tick(features, action, loss, trend.level)
            learner.learn(trend)
        return time.perf_counter() - began


def set_up(preset: Preset) -> Measured:
    """The shipped learner, with a replay that is warm."""
    from hpt.predictors.rssm import build

    config = HybridConfig.from_dict({"learner": {"dims": preset.value}})
    chooser = build(config, NUM_GROUPS)
    block = _Block(chooser.models["rssm"], chooser.trend, _observations())
    for _ in range(_WARM_BLOCKS):
        block.run()
    return Measured(
        time_loops=lambda loops: sum(block.run() for _ in range(loops)),
        check=partial(_check, block, num_updates=config.learner.updates_per_cycle),
        per_unit={"update": config.learner.updates_per_cycle / BLOCK_STEPS},
    )


def _observations() -> list[Observation]:
    """Steps of a run that has been going on for a while, as the learner is told of them."""
    encoder = FeatureEncoder(NUM_GROUPS, SCALES, _CONFIG.cycle_steps)
    observations: list[Observation] = []
    for facts in steps_of(_NUM_BLOCKS * BLOCK_STEPS):
        encoder.observe_step(facts)
        since = facts.steps_since_jump
        size = (1.0, 1.5) if since == 1 else (0.0, 0.0)
        observations.append((encoder.vector(), action_vector(*size, since, _CONFIG.cycle_steps), facts.loss))
    return observations


def _check(block: _Block, *, num_updates: int) -> None:
    before = block.learner.state_dict()
    ticks = block.learner.num_ticks
    block.run()
    after = block.learner.state_dict()
    require(block.learner.num_ticks == ticks + BLOCK_STEPS, "every step of the block is observed")
    changed = [name for name, old in before["model"].items() if not bool((old == after["model"][name]).all())]
    require(len(changed) > len(before["model"]) / 2, "the learner's weights change")
    made = {
        int(moments["step"]) - int(before["optimizer"][name]["step"]) for name, moments in after["optimizer"].items()
    }
    require(made == {num_updates}, f"the block makes {num_updates} update(s) on every weight")
    require(not np.array_equal(before["replay"]["losses"], after["replay"]["losses"]), "the replay takes the steps in")


SCENARIOS = (
    Scenario(
        group="rssm_training",
        name="observe_gradient",
        summary=f"A block of {BLOCK_STEPS} observed steps with the replay updates that belong to it, per observation.",
        unit="observation",
        set_up=set_up,
        inner_loops=BLOCK_STEPS,
    ),
)
