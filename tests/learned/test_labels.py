"""The store of labelled moments."""

import numpy as np

from hpt.learned.labels import LabelStore


def _store(num: int) -> LabelStore:
    store = LabelStore(2, 3, 2)
    for at in range(num):
        latent = np.full(2, at, np.float32), np.full(3, -at, np.float32)
        store.add(latent, np.array([0, 2], np.float32), at % 3, 10.0 * at)
    return store


def test_empty_store_gives_no_batch() -> None:
    """Nothing to learn from is None, not an empty batch."""
    assert _store(0).batch() is None


def test_batch_holds_what_was_added() -> None:
    """Latent, weights, arm and target of every moment, in order."""
    batch = _store(4).batch()
    assert batch is not None
    assert batch.deter[:, 0].tolist() == [0, 1, 2, 3]
    assert batch.stoch[:, 2].tolist() == [0, -1, -2, -3]
    assert batch.arms.tolist() == [0, 1, 2, 0]
    assert batch.targets.tolist() == [0, 10, 20, 30]
    assert batch.masks.tolist() == [[0, 2]] * 4


def test_the_oldest_give_way() -> None:
    """Of 130 moments the first two are gone, and counts are of what is left."""
    store = _store(130)
    batch = store.batch()
    assert batch is not None
    assert sorted(batch.targets.tolist()) == [10.0 * at for at in range(2, 130)]
    assert store.counts(4).tolist() == [43, 42, 43, 0]


def test_state_continues_exactly() -> None:
    """A restored store gives the same batch and takes in the next moment at the same place."""
    first, second = _store(130), LabelStore(2, 3, 2)
    second.load_state_dict(first.state_dict())
    for store in (first, second):
        store.add((np.ones(2, np.float32), np.ones(3, np.float32)), np.ones(2, np.float32), 1, 7.0)
    one, two = first.batch(), second.batch()
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(one.targets, two.targets)
    np.testing.assert_array_equal(one.deter, two.deter)
