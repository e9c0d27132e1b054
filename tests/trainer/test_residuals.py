"""The residual store forgets in order and weighs what is alike and fresh."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from references.similar_residuals import SlowStore

from hpt.trainer.residuals import Residual, ResidualStore


def state(rng: np.random.Generator, size: int = 64) -> NDArray[np.float32]:
    return rng.standard_normal(size).astype(np.float32)


def filled(capacity: int, count: int, seed: int = 0) -> tuple[ResidualStore, list[Residual]]:
    rng = np.random.default_rng(seed)
    rows = [Residual(10 * i, state(rng), 50 + i, float(rng.standard_normal()), bool(i % 2)) for i in range(count)]
    store = ResidualStore(capacity)
    for row in rows:
        store.add(row)
    return store, rows


def same(first: Residual, second: Residual) -> bool:
    rest = [(one.step, one.horizon, one.residual, one.was_jump) for one in (first, second)]
    return rest[0] == rest[1] and bool(np.array_equal(first.features, second.features))


@pytest.mark.parametrize("count", [0, 3, 8, 9, 29])
def test_it_keeps_the_last_residuals_in_order(count: int) -> None:
    """The last 8 of any number, oldest first, every field as it went in."""
    store, rows = filled(8, count)
    kept = store.items()
    assert len(store) == len(kept) == min(8, count)
    assert all(same(one, other) for one, other in zip(kept, rows[max(0, count - 8) :], strict=True))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), capacity=st.integers(1, 12), count=st.integers(0, 30), size=st.integers(1, 5))
def test_similarity_equals_the_plain_loop(seed: int, capacity: int, count: int, size: int) -> None:
    """Kernel, spacing, recency and ring order give what a list gives, within rounding."""
    rng = np.random.default_rng(seed)
    store, twin = ResidualStore(capacity), SlowStore(capacity, neighbours=8, recency=0.98)
    for step in range(count):
        features, residual = state(rng, size), float(rng.standard_normal())
        store.add(Residual(step, features, 1, residual, was_jump=True))
        twin.add(features.tolist(), residual)
    for query in (state(rng, size), store.items()[0].features if count else state(rng, size)):
        found = store.similar(query)
        assert (found.mean, found.weight) == pytest.approx(twin.similar(query.tolist()), rel=1e-9, abs=1e-12)


def test_an_empty_store_knows_nothing() -> None:
    """Mean 0 with weight 0, and bounds that allow nothing."""
    store = ResidualStore(8)
    found = store.similar(np.ones(64))
    assert (found.mean, found.weight, store.bounds) == (0.0, 0.0, (0.0, 0.0))


def test_the_mean_is_local() -> None:
    """Two clusters with residuals +2 and -2: each asks its own; a state far from both gets no weight."""
    rng = np.random.default_rng(0)
    store = ResidualStore(100)
    for step in range(60):
        sign = 1.0 if step % 2 else -1.0
        features = (5.0 * sign + rng.standard_normal(64)).astype(np.float32)
        store.add(Residual(step, features, 50, 2.0 * sign, was_jump=True))
    assert store.similar(np.full(64, 5.0)).mean == pytest.approx(2.0, abs=1e-6)
    assert store.similar(np.full(64, -5.0)).mean == pytest.approx(-2.0, abs=1e-6)
    assert store.similar(np.full(64, 50.0)).weight < 1e-6


def test_newer_residuals_weigh_more() -> None:
    """Same state throughout, 40 residuals of 1 after 40 of 0: the mean is that of geometric weights."""
    store = ResidualStore(100)
    for step in range(80):
        store.add(Residual(step, np.ones(4, dtype=np.float32), 50, float(step >= 40), was_jump=False))
    weights = 0.98 ** np.arange(80)
    assert store.similar(np.ones(4)).mean == pytest.approx(weights[:40].sum() / weights.sum())


def test_bounds_cover_what_is_stored_and_zero() -> None:
    """Lowest and highest of the residuals still kept."""
    store = ResidualStore(2)
    for step, residual in enumerate([-9.0, 3.0, 5.0]):
        store.add(Residual(step, np.zeros(2, dtype=np.float32), 1, residual, was_jump=False))
    assert store.bounds == (0.0, 5.0)


@pytest.mark.parametrize("count", [0, 5, 21])
def test_a_restored_store_continues_exactly(count: int) -> None:
    """Same answers bit for bit, also after both have gone on and wrapped around."""
    store, _ = filled(8, count)
    twin = ResidualStore(8)
    twin.load_state_dict(store.state_dict())
    rng = np.random.default_rng(1)
    for step in range(12):
        query = state(rng)
        assert twin.similar(query) == store.similar(query)
        row = Residual(step, state(rng), 7, float(rng.standard_normal()), was_jump=False)
        store.add(row)
        twin.add(row)
    assert all(same(one, other) for one, other in zip(store.items(), twin.items(), strict=True))
