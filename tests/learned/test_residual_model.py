"""The residual model helps where there is a bias to learn and stays out of the way elsewhere."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from references.similar_residuals import SlowStore

from hpt.learned.residual_model import ResidualModel, ResidualStore

SIZE = 64


def forecast_errors(bias_of: str, seed: int, count: int = 300) -> tuple[float, float]:
    """Mean squared residual with and without shift, after 30 residuals, under unit noise plus a bias."""
    rng = np.random.default_rng(seed)
    model = ResidualModel()
    direction = rng.standard_normal(SIZE) / math.sqrt(SIZE)
    features, corrected, plain = rng.standard_normal(SIZE), 0.0, 0.0
    for step in range(count):
        features = 0.9 * features + math.sqrt(1 - 0.81) * rng.standard_normal(SIZE)
        bias = {"none": 0.0, "constant": 1.0, "state": 1.5 * float(direction @ features)}[bias_of]
        residual = bias + float(rng.standard_normal())
        shift = model.expected(features)
        if step >= 30:
            corrected += (residual - shift) ** 2
            plain += residual**2
        model.observe(features, residual)
    return corrected / (count - 30), plain / (count - 30)


@pytest.mark.parametrize(("bias_of", "at_most"), [("constant", 0.7), ("state", 0.7)])
def test_it_lowers_the_error_of_biased_forecasts(bias_of: str, at_most: float) -> None:
    """A bias of a scale, constant or a function of the state: 30 % of the squared error goes, over 4 runs."""
    errors = np.array([forecast_errors(bias_of, seed) for seed in range(4)])
    assert errors[:, 0].sum() < at_most * errors[:, 1].sum()


def test_it_leaves_pure_noise_alone() -> None:
    """Nothing to learn: the squared error rises by 5 % at most, over 6 runs."""
    errors = np.array([forecast_errors("none", seed) for seed in range(6)])
    assert errors[:, 0].sum() < 1.05 * errors[:, 1].sum()


def test_it_acts_only_once_earned() -> None:
    """No word before 8 residuals were scored, none while its own error is the higher one."""
    model, features = ResidualModel(), np.ones(SIZE)
    for _ in range(8):
        assert model.expected(features) == 0.0
        model.observe(features, 1.0)
    assert model.is_earned
    assert model.expected(features) > 0.5
    for step in range(8, 40):  # the bias flips at every step: the past misleads
        model.observe(features, (-1.0) ** step * 5.0)
    with_it, without = model.errors
    assert model.is_earned == (with_it < without)
    assert model.expected(features) == 0.0


def test_rolling_errors_are_those_of_the_definition() -> None:
    """Exponential means with decay 0.95, free of start-up bias; the prediction is made before learning."""
    rng = np.random.default_rng(3)
    model, residuals = ResidualModel(), rng.standard_normal(20)
    for step, residual in enumerate(residuals):
        model.observe(rng.standard_normal(SIZE), float(residual))
        if step == 0:  # nothing could be predicted
            assert model.errors == pytest.approx((residual**2, residual**2))
    weights = 0.95 ** np.arange(19, -1, -1)
    assert model.errors[1] == pytest.approx(weights @ residuals**2 / weights.sum())


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3, 1e20])
def test_it_is_stable_for_features_of_any_size(size: float) -> None:
    """Constant bias, features of any norm: after 300 residuals the shift is finite and near the bias."""
    rng = np.random.default_rng(0)
    model = ResidualModel()
    for _ in range(300):
        model.observe(size * rng.standard_normal(SIZE), 2.0 + 0.1 * float(rng.standard_normal()))
    shifts = [model.expected(size * rng.standard_normal(SIZE)) for _ in range(50)]
    assert np.mean(shifts) == pytest.approx(2.0, abs=0.5)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(-50.0, 50.0), min_size=8, max_size=40),
    st.integers(0, 2**16),
    st.sampled_from([0.01, 1.0, 1e4]),
)
def test_it_never_exceeds_what_was_observed(residuals: list[float], seed: int, size: float) -> None:
    """Whatever came, the shift lies within the residuals seen, 0 included, and within 10 scales."""
    rng = np.random.default_rng(seed)
    model = ResidualModel()
    for step, residual in enumerate(residuals):
        model.observe(rng.standard_normal(SIZE), residual)
        shift = model.expected(size * rng.standard_normal(SIZE))
        seen = residuals[: step + 1]
        assert max(-10.0, min(0.0, *seen)) <= shift <= min(10.0, max(0.0, *seen))


def test_an_empty_one_corrects_nothing() -> None:
    """0 before any residual."""
    assert ResidualModel().expected(np.ones(SIZE)) == 0.0


@pytest.mark.parametrize("residual", [math.nan, math.inf])
def test_what_is_not_a_number_teaches_nothing(residual: float) -> None:
    """Neither a residual nor a feature that is no number changes it, and a broken state gets no shift."""
    model = ResidualModel()
    for _ in range(30):
        model.observe(np.ones(SIZE), 1.0)
    before = model.expected(np.ones(SIZE))
    model.observe(np.ones(SIZE), residual)
    model.observe(np.full(SIZE, math.nan), 1.0)
    assert model.expected(np.ones(SIZE)) == before > 0.0
    assert model.expected(np.full(SIZE, math.nan)) == 0.0
    assert len(model.state_dict()["store"]["residuals"]) == 30


def test_a_restored_model_continues_exactly() -> None:
    """Same shifts, bit for bit, over 60 further residuals."""
    rng = np.random.default_rng(4)
    model, twin = ResidualModel(), ResidualModel()
    for step in range(100):
        if step == 40:
            twin.load_state_dict(copy.deepcopy(model.state_dict()))
        features, residual = rng.standard_normal(SIZE), 1.0 + float(rng.standard_normal())
        for one in (model, twin) if step >= 40 else (model,):
            one.observe(features, residual)
        if step >= 40:
            assert twin.expected(features) == model.expected(features)
    assert model.is_earned


def state(rng: np.random.Generator, size: int = 64) -> NDArray[np.float32]:
    return rng.standard_normal(size).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), capacity=st.integers(1, 12), count=st.integers(0, 30), size=st.integers(1, 5))
def test_similarity_equals_the_plain_loop(seed: int, capacity: int, count: int, size: int) -> None:
    """Kernel, spacing, recency and ring order give what a list gives, within rounding."""
    rng = np.random.default_rng(seed)
    store, twin = ResidualStore(capacity), SlowStore(capacity, neighbours=8, recency=0.98)
    for _ in range(count):
        features, residual = state(rng, size), float(rng.standard_normal())
        store.add(features, residual)
        twin.add(features.tolist(), residual)
    known = np.array(twin.rows[0][0], dtype=np.float32) if count else state(rng, size)
    for query in (state(rng, size), known):
        assert store.similar(query) == pytest.approx(twin.similar(query.tolist()), rel=1e-9, abs=1e-12)


def test_an_empty_store_knows_nothing() -> None:
    """Mean 0 with weight 0, and bounds that allow nothing."""
    store = ResidualStore(8)
    assert (store.similar(np.ones(64)), store.bounds) == ((0.0, 0.0), (0.0, 0.0))


def test_the_mean_is_local() -> None:
    """Two clusters with residuals +2 and -2: each asks its own; a state far from both gets no weight."""
    rng = np.random.default_rng(0)
    store = ResidualStore(100)
    for step in range(60):
        sign = 1.0 if step % 2 else -1.0
        features = (5.0 * sign + rng.standard_normal(64)).astype(np.float32)
        store.add(features, 2.0 * sign)
    assert store.similar(np.full(64, 5.0))[0] == pytest.approx(2.0, abs=1e-6)
    assert store.similar(np.full(64, -5.0))[0] == pytest.approx(-2.0, abs=1e-6)
    assert store.similar(np.full(64, 50.0))[1] < 1e-6


def test_newer_residuals_weigh_more() -> None:
    """Same state throughout, 40 residuals of 1 after 40 of 0: the mean is that of geometric weights."""
    store = ResidualStore(100)
    for step in range(80):
        store.add(np.ones(4, dtype=np.float32), float(step >= 40))
    weights = 0.98 ** np.arange(80)
    assert store.similar(np.ones(4))[0] == pytest.approx(weights[:40].sum() / weights.sum())


def test_bounds_cover_what_is_stored_and_zero() -> None:
    """Lowest and highest of the residuals still kept."""
    store = ResidualStore(2)
    for residual in (-9.0, 3.0, 5.0):
        store.add(np.zeros(2, dtype=np.float32), residual)
    assert store.bounds == (0.0, 5.0)


@pytest.mark.parametrize("count", [0, 5, 21])
def test_a_restored_store_continues_exactly(count: int) -> None:
    """Same answers bit for bit, also after both have gone on and wrapped around; only what is kept is saved."""
    rng, store, twin = np.random.default_rng(1), ResidualStore(8), ResidualStore(8)
    for _ in range(count):
        store.add(state(rng), float(rng.standard_normal()))
    saved = store.state_dict()
    assert len(saved["residuals"]) == len(store) == min(8, count)
    twin.load_state_dict(saved)
    for _ in range(12):
        query, features, residual = state(rng), state(rng), float(rng.standard_normal())
        assert twin.similar(query) == store.similar(query)
        store.add(features, residual)
        twin.add(features, residual)
    np.testing.assert_array_equal(store.state_dict()["residuals"], twin.state_dict()["residuals"])
