"""The 64 features of a whole run: all live, none a copy of another, and the same bits every time."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from references.synthetic_run import Fact, SyntheticRun

import hpt.learned.features as features_module
from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts
from hpt.learned.features import FEATURE_NAMES, NUM_FEATURES, FeatureEncoder

RUNS = {
    "constant gain": SyntheticRun(),
    "falling gain": SyntheticRun(gain=lambda progress: 2.4 - 1.2 * progress, seed=1),
    "one group": SyntheticRun(num_groups=1),
    "three groups": SyntheticRun(num_groups=3),
    "one scale": SyntheticRun(scales=(0.8,)),
    "one scale, one group": SyntheticRun(scales=(0.95,), num_groups=1),
    "three scales": SyntheticRun(scales=(0.8, 0.9, 0.95)),
    "constant learning rate": SyntheticRun(lr=lambda progress: 1.0),
}
WARMUP = 8  # steps of zeros while the averages warm up
JUMPS_ONLY = {"jump_size", "jump_effect", "jump_gain", "jump_verdicts"}


def encoder_of(run: SyntheticRun) -> FeatureEncoder:
    return FeatureEncoder(run.num_groups, run.scales, run.cycle_steps)


def tell(encoder: FeatureEncoder, fact: Fact) -> None:
    if isinstance(fact, StepFacts):
        encoder.observe_step(fact)
    elif isinstance(fact, CycleFacts):
        encoder.observe_cycle(fact)
    else:
        assert isinstance(fact, JumpOutcome)
        encoder.observe_jump(fact)


def vectors_of(run: SyntheticRun) -> np.ndarray:
    """The features (steps, 64) after every step of the run."""
    encoder, rows = encoder_of(run), []
    for fact in run.facts():
        tell(encoder, fact)
        if isinstance(fact, StepFacts):
            rows.append(encoder.vector())
    return np.array(rows)


def ranks(column: np.ndarray) -> np.ndarray:
    """Ranks of a column, ties sharing their mean rank."""
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def test_there_are_64_and_the_table_lists_them_in_order() -> None:
    """The docstring's table has one row for each feature, in the order of the vector."""
    rows = [line.split()[0] for line in str(features_module.__doc__).splitlines() if line.startswith("    ")]
    assert rows == ["name", *FEATURE_NAMES]
    assert NUM_FEATURES == len(set(FEATURE_NAMES)) == 64


@pytest.mark.parametrize("name", RUNS)
def test_all_are_live_and_no_two_rank_alike(name: str) -> None:
    """In 600 steps with a jump after every cycle each feature takes ten values or more, no two with equal ranks."""
    vectors = vectors_of(RUNS[name])
    assert vectors.shape == (600, 64)
    assert vectors.dtype == np.float32
    dead = [FEATURE_NAMES[place] for place in range(64) if len(np.unique(vectors[:, place])) < 10]
    assert dead == []
    correlations = np.corrcoef([ranks(column) for column in vectors[WARMUP:].T]) - np.eye(64)
    one, other = np.unravel_index(np.argmax(np.abs(correlations)), correlations.shape)
    assert np.abs(correlations).max() < 0.999, (FEATURE_NAMES[one], FEATURE_NAMES[other])


def test_only_what_tells_of_jumps_waits_for_one() -> None:
    """In a run without jumps every other feature is live."""
    vectors = vectors_of(SyntheticRun(gain=None))
    dead = {FEATURE_NAMES[place] for place in range(64) if len(np.unique(vectors[:, place])) < 10}
    assert dead == JUMPS_ONLY


def test_one_feature_only_is_a_clock() -> None:
    """`log_step` alone has the ranks of time, forward or backward."""
    vectors = vectors_of(SyntheticRun())[WARMUP:]
    steps = ranks(np.arange(len(vectors)))
    clocks = [
        name
        for name, column in zip(FEATURE_NAMES, vectors.T, strict=True)
        if abs(np.corrcoef(steps, ranks(column))[0, 1]) > 0.999
    ]
    assert clocks == ["log_step"]


def test_features_are_on_their_running_scale() -> None:
    """Each normalised feature is (raw - mean) / std over its moves so far, clipped to 5."""
    run = SyntheticRun(num_steps=200)
    encoder, raws = encoder_of(run), []
    for fact in run.facts():
        tell(encoder, fact)
        if isinstance(fact, StepFacts):
            raws.append(encoder.raw())
    history = np.array(raws)[WARMUP:, :20]
    expected = (history[-1] - history.mean(axis=0)) / history.std(axis=0)
    np.testing.assert_allclose(encoder.vector()[:20], np.clip(expected, -5, 5), rtol=1e-5, atol=1e-6)


def test_cycle_features_are_scaled_by_cycles() -> None:
    """Mean and deviation of a cycle feature count each cycle once, from the second on."""
    run = SyntheticRun(num_steps=200)
    encoder, raws = encoder_of(run), []
    for fact in run.facts():
        tell(encoder, fact)
        if isinstance(fact, CycleFacts):
            raws.append(encoder.raw())
    history = np.array(raws)[1:, -15:]
    expected = (history[-1] - history.mean(axis=0)) / history.std(axis=0)
    np.testing.assert_allclose(encoder.vector()[-15:], np.clip(expected, -5, 5), rtol=1e-5, atol=1e-6)


def test_jump_features_are_scaled_from_the_first_jump_on() -> None:
    """The steps before the first jump, when there was nothing to tell, do not enter mean and deviation."""
    run = SyntheticRun(num_steps=120)
    encoder, raws, places = encoder_of(run), [], [FEATURE_NAMES.index(name) for name in sorted(JUMPS_ONLY)]
    has_jumped = False
    for fact in run.facts():
        tell(encoder, fact)
        has_jumped = has_jumped or isinstance(fact, JumpOutcome)
        if isinstance(fact, StepFacts) and has_jumped:
            raws.append(encoder.raw()[places])
    history = np.array(raws)
    expected = (history[-1] - history.mean(axis=0)) / history.std(axis=0)
    np.testing.assert_allclose(encoder.vector()[places], np.clip(expected, -5, 5), rtol=1e-5, atol=1e-6)


def test_features_are_bounded() -> None:
    """Nothing leaves +-5, not even after a loss a million times the others; the start is all zeros."""
    run = SyntheticRun(num_steps=100)
    encoder = encoder_of(run)
    for fact in run.facts():
        tell(encoder, fact)
        assert np.abs(encoder.vector()).max() <= 5.0
        if isinstance(fact, StepFacts) and fact.step <= WARMUP:
            assert not encoder.vector().any()
    step = next(fact for fact in run.facts() if isinstance(fact, StepFacts))
    encoder.observe_step(dataclasses.replace(step, loss=2e6, grad_norm=1e6, group_grad_norms=(1e6, 1.0)))
    assert np.abs(encoder.vector()).max() == 5.0
    assert np.isfinite(encoder.raw()).all()


def test_reading_changes_nothing() -> None:
    """A run whose features are read after every fact ends with the same bits as one never read before."""
    run = SyntheticRun(num_steps=120)
    silent, read = encoder_of(run), encoder_of(run)
    for fact in run.facts():
        tell(silent, fact)
        tell(read, fact)
        read.vector()
        read.raw()[:] = 0.0
    assert silent.vector().tobytes() == read.vector().tobytes()


def plain(state: Any) -> Any:
    """The state after a trip through JSON: tuples become lists, arrays nested lists of the same doubles."""
    return json.loads(json.dumps(state, default=lambda array: array.tolist()))


@pytest.mark.parametrize("split", [0, 5, 103, 251])
def test_state_continues_bit_for_bit(split: int) -> None:
    """Saved as plain values anywhere in the run, the features go on with the same bits."""
    run = SyntheticRun(num_steps=260)
    whole, first, second = encoder_of(run), encoder_of(run), encoder_of(run)
    facts = list(run.facts())
    for fact in facts[:split]:
        tell(whole, fact)
        tell(first, fact)
    second.load_state_dict(plain(first.state_dict()))
    for fact in facts[split:]:
        tell(whole, fact)
        tell(second, fact)
        assert whole.vector().tobytes() == second.vector().tobytes()
    assert plain(whole.state_dict()) == plain(second.state_dict())
