"""Running statistics equal their definitions over the whole history."""

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.numerics.running import EmaBank, Welford


def weighted_mean(history: np.ndarray, gain: float) -> float:
    weights = (1 - gain) ** np.arange(len(history) - 1.0, -1.0, -1.0)
    return float(weights @ history / weights.sum())


@settings(max_examples=30)
@given(history=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40))
def test_welford_is_the_sample_variance(history: list[float]) -> None:
    """Mean and unbiased variance equal the standard library's."""
    running = Welford()
    for number in history:
        running.push(number)
    assert running.mean == pytest.approx(statistics.fmean(history), rel=1e-9, abs=1e-9)
    assert running.variance == pytest.approx(statistics.variance(history), rel=1e-9, abs=1e-9)
    assert running.std == pytest.approx(statistics.stdev(history), rel=1e-9, abs=1e-9)


def test_welford_survives_a_large_offset() -> None:
    """The variance of 1, 2, 3 above ten million is 1: no difference of large squares is taken."""
    running = Welford()
    for number in (1e7 + 1, 1e7 + 2, 1e7 + 3):
        running.push(number)
    assert running.variance == pytest.approx(1.0, rel=1e-12)


def test_a_bank_is_many_averages() -> None:
    """Each is the mean of its own input with weights (1 - gain)^age, also after its start-up bias has rounded away."""
    gains = np.array([0.5, 0.1, 1 / 30])
    bank = EmaBank(gains)
    inputs = np.random.default_rng(0).standard_normal((1500, 3))
    blocks = [bank.scan(block) for block in np.split(inputs, [1, 9, 40, 900])]
    for count in (1, 2, 9, 10, 77, 1500):
        expected = [weighted_mean(inputs[:count, one], gain) for one, gain in enumerate(gains)]
        np.testing.assert_allclose(np.concatenate(blocks)[count - 1], expected, rtol=1e-10, atol=1e-13)


def test_state_continues_bit_for_bit() -> None:
    """Saved and loaded half-way, mean and variance end in the same state as those that were not."""
    history = np.random.default_rng(1).standard_normal(21).tolist()
    whole, first, second = Welford(), Welford(), Welford()
    for number in history[:10]:
        whole.push(number)
        first.push(number)
    second.load_state_dict(first.state_dict())
    for number in history[10:]:
        whole.push(number)
        second.push(number)
    for one, other in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("split", [3, 1600])
def test_bank_state_continues_bit_for_bit(split: int) -> None:
    """Saved during or after start-up, a bank goes on as if it had never stopped, in blocks of any size."""
    inputs = np.random.default_rng(2).standard_normal((1700, 2))
    gains = np.array([0.5, 1 / 30])
    whole, first, second = EmaBank(gains), EmaBank(gains), EmaBank(gains)
    first.scan(inputs[:split])
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(whole.scan(inputs)[split:], second.scan(inputs[split:]))
    assert second.count == 1700
