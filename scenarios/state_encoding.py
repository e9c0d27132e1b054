"""Turning a step of the run into the 64 features, all of them live."""

import time
from functools import partial
from itertools import cycle, islice

import numpy as np

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.learned.facts import CycleFacts, StepFacts
from hpt.learned.features import NUM_FEATURES, FeatureEncoder
from scenarios.made_up_run import CYCLE_STEPS, NUM_GROUPS, SCALES, made_up_run, steps_of

_WARM_STEPS = 1200  # beyond the 1000 moves after which the encoder's own averaging is in its final state
_WATCHED_STEPS = 400


def set_up(preset: Preset) -> Measured:
    """An encoder in the middle of a run with cycles and jumps, and the steps that follow."""
    del preset  # both presets read the same 64 features
    encoder = FeatureEncoder(NUM_GROUPS, SCALES, CYCLE_STEPS)
    seen = [_feed(encoder, fact) for fact in made_up_run(_WARM_STEPS)]
    vectors = [vector for vector in seen if vector is not None]
    facts = steps_of(1024, seed=1)
    return Measured(
        time_loops=partial(_time, encoder, facts),
        check=partial(_check, encoder, facts, np.stack(vectors[-_WATCHED_STEPS:])),
    )


def _feed(encoder: FeatureEncoder, fact: object) -> np.ndarray | None:
    """The features after a step, None after anything else."""
    if isinstance(fact, StepFacts):
        encoder.observe_step(fact)
        return encoder.vector()
    if isinstance(fact, CycleFacts):
        encoder.observe_cycle(fact)
    else:
        encoder.observe_jump(fact)  # pyright: ignore[reportArgumentType] - the only kind left
    return None


def _time(encoder: FeatureEncoder, facts: list[StepFacts], loops: int) -> float:
    observe, vector = encoder.observe_step, encoder.vector
    began = time.perf_counter()
    for one in islice(cycle(facts), loops):
        observe(one)
        vector()
    return time.perf_counter() - began


def _check(encoder: FeatureEncoder, facts: list[StepFacts], vectors: np.ndarray) -> None:
    require(vectors.shape == (_WATCHED_STEPS, NUM_FEATURES), "there are 64 features a step")
    require(bool((np.ptp(vectors, axis=0) > 0).all()), "every feature moved in the last 400 steps")
    encoder.observe_step(facts[0])
    first = encoder.vector()
    encoder.observe_step(facts[1])
    require(not np.array_equal(first, encoder.vector()), "the features differ when the step differs")


SCENARIOS = (
    Scenario(
        group="state_encoding",
        name="compute_features",
        summary="Take in one full step and give the 64 normalised features, all live.",
        unit="step",
        set_up=set_up,
    ),
)
