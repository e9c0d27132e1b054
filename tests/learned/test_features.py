"""The 64 features of a whole run: all live, none a copy of another, and the same bits every time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.blocks import joined, merged, one_step, rows
from references.step_by_step_features import SlowEncoder
from references.synthetic_run import Event, SyntheticRun

from hpt.history import StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.features import FEATURE_NAMES, NUM_FEATURES, FeatureEncoder

RUNS = {
    "constant gain": SyntheticRun(),
    "falling gain": SyntheticRun(gain=lambda progress: 2.4 - 1.2 * progress, seed=1),
    "one group": SyntheticRun(num_groups=1),
    "three groups": SyntheticRun(num_groups=3),
    "slow trend": SyntheticRun(scale=0.95),
    "slow trend, one group": SyntheticRun(scale=0.95, num_groups=1),
    "constant learning rate": SyntheticRun(lr=lambda progress: 1.0),
}
WARMUP = 8  # steps of zeros while the averages warm up
JUMPS_ONLY = {"jump_size", "jump_effect", "jump_gain", "jump_verdicts"}
PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def encoder_of(run: SyntheticRun) -> FeatureEncoder:
    return FeatureEncoder(run.cycle_steps)


def tell(encoder: FeatureEncoder, event: Event) -> np.ndarray:
    """Show one event; the features (n, 64) after each of its steps, none if it is not of steps."""
    if isinstance(event, StepStats):
        return encoder.observe_steps(event)
    if isinstance(event, CycleStats):
        encoder.observe_cycle(event)
    else:
        assert isinstance(event, JumpOutcome)
        encoder.observe_jump(event)
    return np.zeros((0, 64), dtype=np.float32)


def vectors_of(run: SyntheticRun, cuts: frozenset[int] = frozenset()) -> np.ndarray:
    """The features (steps, 64) after every step of the run."""
    encoder = encoder_of(run)
    return np.concatenate([tell(encoder, event) for event in merged(run.events(), cuts)])


def ranks(column: np.ndarray) -> np.ndarray:
    """Ranks of a column, ties sharing their mean rank."""
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def test_there_are_64_and_the_table_lists_them_in_order() -> None:
    """The table of docs/features.md has one row for each feature, in the order of the vector."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == list(FEATURE_NAMES)
    assert NUM_FEATURES == len(set(FEATURE_NAMES)) == 64


@settings(max_examples=12, deadline=None)
@given(
    num_groups=st.integers(1, 3),
    seed=st.integers(0, 99),
    cuts=st.frozensets(st.integers(1, 90)),
    jumps=st.booleans(),
)
def test_blocks_equal_the_slow_twin_bit_for_bit(num_groups: int, seed: int, cuts: frozenset[int], jumps: bool) -> None:
    """However steps are split into blocks, with jumps between, every vector is that of a walk step by step."""
    gain = (lambda progress: 2.0) if jumps else None
    run = SyntheticRun(num_steps=90, num_groups=num_groups, seed=seed, gain=gain)
    slow, expected = SlowEncoder(num_groups, run.cycle_steps), list[np.ndarray]()
    for event in run.events():
        if isinstance(event, StepStats):
            slow.observe_step(event)
            expected.append(slow.vector())
        elif isinstance(event, CycleStats):
            slow.observe_cycle(event)
        else:
            slow.observe_jump(event)
    np.testing.assert_array_equal(vectors_of(run, cuts), expected)


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


def watched(run: SyntheticRun, kinds: type | tuple[type, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Raw features after every event of a kind, and the last vector."""
    encoder, raws, vector = encoder_of(run), list[np.ndarray](), np.zeros(64)
    for event in run.events():
        for row in tell(encoder, event):
            vector = row
        if isinstance(event, kinds):
            raws.append(encoder.raw())
    return np.array(raws), vector


def standardised(history: np.ndarray) -> np.ndarray:
    """The last row, centred and scaled by all of them, clipped to 5."""
    return np.clip((history[-1] - history.mean(axis=0)) / history.std(axis=0), -5, 5)


def test_features_are_on_their_running_scale() -> None:
    """Each normalised feature is (raw - mean) / std over its moves so far, clipped to 5."""
    history, vector = watched(SyntheticRun(num_steps=200), StepStats)
    np.testing.assert_allclose(vector[:20], standardised(history[WARMUP:, :20]), rtol=1e-5, atol=1e-6)


def test_cycle_features_are_scaled_by_cycles() -> None:
    """Mean and deviation of a cycle feature count each cycle once, from the second on."""
    history, vector = watched(SyntheticRun(num_steps=205), CycleStats)
    np.testing.assert_allclose(vector[-15:], standardised(history[1:, -15:]), rtol=1e-5, atol=1e-6)


def test_jump_features_are_scaled_from_the_first_jump_on() -> None:
    """The steps before the first jump, when there was nothing to tell, do not enter mean and deviation."""
    run, places = SyntheticRun(num_steps=120), [FEATURE_NAMES.index(name) for name in sorted(JUMPS_ONLY)]
    first = next(index for index, event in enumerate(run.events()) if isinstance(event, JumpOutcome))
    before = sum(isinstance(event, StepStats) for event in list(run.events())[:first])
    history, vector = watched(run, StepStats)
    np.testing.assert_allclose(vector[places], standardised(history[before:, places]), rtol=1e-5, atol=1e-6)


def test_features_are_bounded() -> None:
    """Nothing leaves +-5, not even after a loss a million times the others; the start is all zeros."""
    run = SyntheticRun(num_steps=100)
    vectors = vectors_of(run)
    assert np.abs(vectors).max() <= 5.0
    assert not vectors[:WARMUP].any()
    assert vectors[WARMUP].any()
    encoder = encoder_of(run)
    for event in merged(run.events()):
        tell(encoder, event)
    last = joined(event for event in run.events() if isinstance(event, StepStats))
    wild = replace(rows(last, 99, 100), loss=np.array([2e6]), grad_norm=np.array([1e6]))
    assert np.abs(encoder.observe_steps(wild)).max() == 5.0
    assert np.isfinite(encoder.raw()).all()


def test_an_unknown_length_of_the_run_changes_nothing() -> None:
    """Progress of NaN is no input of any feature."""
    encoder, other = FeatureEncoder(5), FeatureEncoder(5)
    for step in range(1, 30):
        one = one_step(step, loss=2 + 0.1 * (step % 3), grad_norm=1 + 0.1 * (step % 4), cycle_frac=(step % 5) / 5)
        known = replace(one, progress=np.array([step / 30]))
        assert encoder.observe_steps(one).tobytes() == other.observe_steps(known).tobytes()


def plain(state: Any) -> Any:
    """The state after a trip through JSON: tuples become lists, arrays nested lists of the same doubles."""
    return json.loads(json.dumps(state, default=lambda array: array.tolist()))


@pytest.mark.parametrize("split", [0, 5, 103, 251])
def test_state_continues_bit_for_bit(split: int) -> None:
    """Saved as plain values anywhere in the run, the features go on with the same bits."""
    run = SyntheticRun(num_steps=260)
    whole, second = encoder_of(run), encoder_of(run)
    events = list(run.events())
    for event in events[:split]:
        tell(whole, event)
    second.load_state_dict(plain(whole.state_dict()))
    for event in events[split:]:
        assert tell(whole, event).tobytes() == tell(second, event).tobytes()
    assert plain(whole.state_dict()) == plain(second.state_dict())
