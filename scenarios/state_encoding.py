"""Turning a step of the run into the 64 features, all of them live."""

import time
from functools import partial
from itertools import cycle, islice

import numpy as np

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.history import StepStats
from hpt.jump.stats import CycleStats
from hpt.learned.features import NUM_FEATURES, FeatureEncoder
from hpt_scenarios.synthetic_run import CYCLE_STEPS, Event, blocks_of, synthetic_run

_WARM_STEPS = 1200  # beyond the 1000 moves after which the encoder's own averaging is in its final state
_WATCHED_STEPS = 400


def set_up(preset: Preset) -> Measured:
    """An encoder in the middle of a run with cycles and jumps, and the cycles that follow."""
    del preset  # both presets read the same 64 features
    encoder = FeatureEncoder(CYCLE_STEPS)
    vectors = np.concatenate([_feed(encoder, event) for event in synthetic_run(_WARM_STEPS)])
    blocks = blocks_of(20 * CYCLE_STEPS, seed=1)
    return Measured(
        time_loops=partial(_time, encoder, blocks),
        check=partial(_check, encoder, blocks, vectors[-_WATCHED_STEPS:]),
    )


def _feed(encoder: FeatureEncoder, event: Event) -> np.ndarray:
    """The features after each step, none after anything else."""
    if isinstance(event, StepStats):
        return encoder.observe_steps(event)
    if isinstance(event, CycleStats):
        encoder.observe_cycle(event)
    else:
        encoder.observe_jump(event)
    return np.zeros((0, NUM_FEATURES))


def _time(encoder: FeatureEncoder, blocks: list[StepStats], loops: int) -> float:
    observe = encoder.observe_steps
    began = time.perf_counter()
    for one in islice(cycle(blocks), loops):
        observe(one)
    return time.perf_counter() - began


def _check(encoder: FeatureEncoder, blocks: list[StepStats], vectors: np.ndarray) -> None:
    require(vectors.shape == (_WATCHED_STEPS, NUM_FEATURES), "there are 64 features a step")
    require(bool((np.ptp(vectors, axis=0) > 0).all()), "every feature moved in the last 400 steps")
    first, second = encoder.observe_steps(blocks[0]), encoder.observe_steps(blocks[1])
    require(len(first) == CYCLE_STEPS, "every step of a block has its features")
    require(not np.array_equal(first, second), "the features differ when the steps differ")
    require(len(np.unique(first, axis=0)) == CYCLE_STEPS, "within a block they differ from step to step")


SCENARIOS = (
    Scenario(
        group="state_encoding",
        name="compute_features",
        summary=f"Take in {CYCLE_STEPS} full steps and give the 64 normalised features after each, per step.",
        unit="step",
        set_up=set_up,
        inner_loops=CYCLE_STEPS,
    ),
)
