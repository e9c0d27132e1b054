"""The test of progress: Welch's statistic, and what a verdict rests on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.control.progress import ProgressTest


def cycle(judge: ProgressTest, losses: list[float]) -> None:
    judge.observe(np.array(losses))
    judge.end_cycle()


def welch(first: list[float], now: list[float]) -> float:
    """(m1 - m2) / sqrt(s1^2 / n1 + s2^2 / n2) with numpy's mean and unbiased variance."""
    error = np.var(first, ddof=1) / len(first) + np.var(now, ddof=1) / len(now)
    return float((np.mean(first) - np.mean(now)) / np.sqrt(error))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), num_first=st.integers(2, 40), num_now=st.integers(2, 40), drop=st.floats(-3.0, 3.0))
def test_the_statistic_is_welchs(seed: int, num_first: int, num_now: int, drop: float) -> None:
    """Two cycles of unequal length and spread."""
    rng = np.random.default_rng(seed)
    first, now = rng.normal(2.0, 0.5, num_first).tolist(), rng.normal(2.0 - drop, 0.2, num_now).tolist()
    judge = ProgressTest()
    cycle(judge, first)
    assert judge.fall_sigmas is None
    cycle(judge, now)
    assert judge.fall_sigmas == pytest.approx(welch(first, now), rel=1e-9, abs=1e-9)
    assert judge.passed is (welch(first, now) > 4.0)


def test_every_cycle_is_held_against_the_first() -> None:
    """A loss that falls a little from cycle to cycle passes once the whole fall is clear."""
    rng = np.random.default_rng(0)
    cycles = [rng.normal(2.0 - 0.1 * n, 0.3, 20).tolist() for n in range(9)]
    judge, seen = ProgressTest(), list[bool]()
    for losses in cycles:
        cycle(judge, losses)
        seen.append(judge.passed)
    clear = [False, *(welch(cycles[0], losses) > 4.0 for losses in cycles[1:])]
    assert 1 < clear.index(True) < 8
    assert seen == [any(clear[: n + 1]) for n in range(9)]


@pytest.mark.parametrize(("second", "passes"), [(1.0, True), (2.0, False), (3.0, False)])
def test_losses_without_any_noise(second: float, passes: bool) -> None:
    """Any fall of a constant loss is beyond noise; no fall and a rise are not, and nothing divides by zero."""
    judge = ProgressTest()
    cycle(judge, [2.0] * 5)
    cycle(judge, [second] * 5)
    assert judge.passed is passes
    assert judge.fall_sigmas is not None
    assert math.isfinite(judge.fall_sigmas)


def test_losses_of_zero_throughout_do_not_pass() -> None:
    """Zero against zero is no fall."""
    judge = ProgressTest()
    for _ in range(3):
        cycle(judge, [0.0] * 4)
    assert judge.passed is False


def test_a_run_that_passed_has_passed() -> None:
    """A later rise changes neither verdict nor statistic."""
    judge = ProgressTest()
    cycle(judge, [3.0, 3.1, 2.9])
    cycle(judge, [1.0, 1.1, 0.9])
    sigmas = judge.fall_sigmas
    cycle(judge, [9.0, 9.1, 8.9])
    assert judge.passed is True
    assert judge.fall_sigmas == sigmas


def test_losses_that_are_not_finite_say_nothing() -> None:
    """The statistic is that of the finite losses alone."""
    judge = ProgressTest()
    cycle(judge, [3.0, math.nan, 3.4, math.inf, 3.2])
    cycle(judge, [2.9, 3.1, -math.inf])
    assert judge.fall_sigmas == pytest.approx(welch([3.0, 3.4, 3.2], [2.9, 3.1]), rel=1e-9)


def test_a_single_loss_waits_for_a_second() -> None:
    """One number has no spread: the cycle goes on into the next."""
    judge = ProgressTest()
    cycle(judge, [3.0])
    cycle(judge, [3.4])
    cycle(judge, [2.9, 3.1])
    assert judge.fall_sigmas == pytest.approx(welch([3.0, 3.4], [2.9, 3.1]), rel=1e-9)


def test_pure_noise_seldom_passes() -> None:
    """200 runs of 40 independent cycles at four sigmas: at most one in fifty passes.

    One test passes with t's tail at about 4, 1e-4 with 30 degrees of freedom; 39 tests against one first cycle stay
    below 39e-4 a run, 0.8 runs.
    """
    rng = np.random.default_rng(3)
    passed = 0
    for _ in range(200):
        judge = ProgressTest()
        for _ in range(40):
            cycle(judge, rng.normal(2.0, 0.3, 20).tolist())
        passed += judge.passed
    assert passed <= 4


@pytest.mark.parametrize("stop", [0, 2, 3, 5, 8])
def test_a_checkpoint_continues_bit_for_bit(stop: int) -> None:
    """Stopped within the first cycle, at its end, within the second or after the verdict."""
    events: list[float | None] = [3.0, 3.1, None, 2.9, 2.7, None, 1.0, 1.1, None, 5.0, None]

    def play(judge: ProgressTest, part: list[float | None]) -> ProgressTest:
        for loss in part:
            if loss is None:
                judge.end_cycle()
            else:
                judge.observe(np.array([loss]))
        return judge

    unbroken, first, second = ProgressTest(), ProgressTest(), ProgressTest()
    play(unbroken, events)
    second.load_state_dict(play(first, events[:stop]).state_dict())
    play(second, events[stop:])
    assert second.state_dict() == unbroken.state_dict()
    assert second.passed is True
