"""Running statistics equal their definitions over the whole history."""

import statistics
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.errors import CheckpointError
from hpt.numerics.running import Ema, EmaBank, Ring, Welford

numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40)


def weighted_mean(history: list[float], gain: float) -> float:
    weights = [(1 - gain) ** age for age in range(len(history) - 1, -1, -1)]
    return sum(weight * number for weight, number in zip(weights, history, strict=True)) / sum(weights)


@settings(max_examples=30)
@given(history=numbers, gain=st.floats(0.01, 1.0))
def test_ema_is_the_weighted_mean_of_its_history(history: list[float], gain: float) -> None:
    """A bias-corrected average is the mean with weights (1 - gain)^age, from the first number on."""
    average = Ema(gain)
    values = [average.push(number) for number in history]
    assert values[-1] == average.value
    assert average.value == pytest.approx(weighted_mean(history, gain), rel=1e-9, abs=1e-9)


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


@settings(max_examples=30)
@given(history=numbers, capacity=st.integers(1, 7))
def test_ring_keeps_the_last_numbers_in_order(history: list[float], capacity: int) -> None:
    """A ring shows what a bounded queue of the same length holds, at every moment."""
    ring, queue = Ring(capacity), deque(maxlen=capacity)
    for number in history:
        ring.push(number)
        queue.append(number)
        assert ring.ordered().tolist() == list(queue)
        assert [ring.newest(lag) for lag in range(len(ring))] == list(reversed(queue))


def test_ring_hands_out_views_that_cannot_be_written() -> None:
    """Reading copies nothing, so writing through the view must be refused."""
    ring = Ring(3)
    ring.push(1.0)
    assert ring.ordered().base is not None
    with pytest.raises(ValueError, match="read-only"):
        ring.ordered()[0] = 2.0


def test_a_bank_is_many_averages() -> None:
    """Each average of a bank follows its own gain and input, also after its start-up bias has rounded away."""
    gains = np.array([0.5, 0.1, 1 / 30])
    bank, singles = EmaBank(gains), [Ema(gain) for gain in gains]
    generator = np.random.default_rng(0)
    for inputs in np.split(generator.standard_normal((1500, 3)), [1, 9, 40, 900]):
        expected = [[single.push(number) for single, number in zip(singles, row, strict=True)] for row in inputs]
        np.testing.assert_allclose(bank.scan(inputs), expected, rtol=1e-11, atol=1e-13)  # order of roundings differs


@pytest.mark.parametrize("make", [lambda: Ema(0.1), Welford, lambda: Ring(4)], ids=["ema", "welford", "ring"])
def test_state_continues_bit_for_bit(make) -> None:
    """Saved and loaded half-way, a running statistic ends in the same state as one that was not."""
    history = np.random.default_rng(1).standard_normal(21).tolist()
    whole, first, second = make(), make(), make()
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


def test_ring_refuses_another_capacity() -> None:
    """A ring of another size cannot continue the saved one."""
    with pytest.raises(CheckpointError, match="capacity 3"):
        Ring(4).load_state_dict(Ring(3).state_dict())
