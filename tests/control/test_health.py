"""Health follows what the run does, and acting on its advice helps."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpt.config import TuningConfig
from hpt.control.health import Advice, Health, HealthMonitor, energy_entropy

STEPS = 100
CURVATURES = np.geomspace(0.1, 10.0, 8)  # of the quadratic below; SGD is stable below a rate of 2 / 10


def assessed(
    losses: NDArray[np.float64],
    norms: NDArray[np.float64] | None = None,
    groups: NDArray[np.float64] | None = None,
    z_scores: NDArray[np.float64] | None = None,
) -> Health:
    monitor = HealthMonitor(TuningConfig(plateau_steps=STEPS))
    for index, loss in enumerate(losses.tolist()):
        monitor.observe(
            loss,
            1.0 if norms is None else float(norms[index]),
            () if groups is None else tuple(groups[index].tolist()),
            None if z_scores is None else float(z_scores[index]),
        )
    return monitor.assess()


def noise(scale: float, seed: int = 0, count: int = STEPS) -> NDArray[np.float64]:
    return scale * np.random.default_rng(seed).standard_normal(count)


def advice(health: Health) -> dict[Advice, float]:
    return {one.what: one.factor for one in health.recommendations}


def test_a_falling_steady_run_is_excellent() -> None:
    """Falling loss, even groups, good forecasts, calm gradients: the top band and nothing to recommend."""
    losses = 3.0 - 0.01 * np.arange(STEPS) + noise(0.1)
    health = assessed(losses, np.exp(noise(0.2, 1)), np.ones((STEPS, 3)), noise(1.0, 2))
    assert health.band == "excellent"
    assert not health.plateau
    assert health.recommendations == ()


def test_the_worst_run_is_critical() -> None:
    """Rising faster and faster, erratic gradients, collapsed entropy, useless forecasts: the bottom band."""
    groups = np.ones((STEPS, 3))
    groups[-20:, 1:] = 1e-3
    losses = 3.0 + 1e-3 * np.arange(STEPS) ** 2 + noise(0.1)
    health = assessed(losses, np.exp(noise(3.0, 1)), groups, np.full(STEPS, 9.0))
    assert health.band == "critical"
    assert advice(health) == {
        Advice.LEARNING_RATE: 0.3,
        Advice.CLIP: 2.0,
        Advice.HORIZON: 0.5,
    }


def test_slope_and_error_are_those_of_numpy() -> None:
    """Least squares over the last window in order of time, although three windows have passed."""
    losses = np.linspace(50.0, 44.0, 3 * STEPS + 17, dtype=np.float64) + noise(0.01, 3, 3 * STEPS + 17)
    health = assessed(losses)
    fitted, covariance = np.polyfit(np.arange(STEPS), losses[-STEPS:], 1, cov="unscaled")
    residuals = losses[-STEPS:] - np.polyval(fitted, np.arange(STEPS))
    assert health.slope == pytest.approx(fitted[0])
    assert health.slope_se == pytest.approx(math.sqrt(covariance[0, 0] * (residuals @ residuals) / (STEPS - 2)))


@pytest.mark.parametrize("length", [STEPS, STEPS + 1, 470, 512])
def test_a_straight_fall_reads_its_slope_at_any_length(length: int) -> None:
    """-0.02 a step is -0.02 a step, wherever the window's storage happens to wrap."""
    assert assessed(20.0 - 0.02 * np.arange(float(length))).slope == pytest.approx(-0.02)


def test_plateaus_are_found_and_falls_are_not() -> None:
    """Of 40 flat windows at least 34 are plateaus (size 5 %); of 40 falls of 1 sigma a window none is."""
    flat = [assessed(2.0 + noise(0.1, seed)).plateau for seed in range(40)]
    fall = np.linspace(0.2, 0.0, STEPS)
    falling = [assessed(2.0 + fall + noise(0.1, seed)).plateau for seed in range(40)]
    assert sum(flat) >= 34
    assert sum(falling) == 0


def test_each_part_reacts_to_its_own_fault_alone() -> None:
    """Planting one fault lowers that part below 0.6 and leaves the others where they were."""
    losses = 3.0 - 0.01 * np.arange(STEPS) + noise(0.1)
    norms, groups, z_scores = np.exp(noise(0.2, 1)), np.ones((STEPS, 3)), noise(1.0, 2)
    sound = assessed(losses, norms, groups, z_scores).parts
    spiky, collapsed = norms.copy(), groups.copy()
    spiky[::10] *= 100.0
    collapsed[-15:, 1:] = 1e-2
    faulty = {
        "stability": assessed(losses, spiky, groups, z_scores).parts,
        "entropy": assessed(losses, norms, collapsed, z_scores).parts,
        "accuracy": assessed(losses, norms, groups, 5.0 * z_scores).parts,
    }
    for name, parts in faulty.items():
        assert min(sound.values()) > 0.85
        assert parts[name] < 0.6
        assert {key: value for key, value in parts.items() if key != name} == {
            key: value for key, value in sound.items() if key != name
        }


def test_acceleration_blames_a_turn_for_the_worse_only() -> None:
    """A fall that flattens out is healthy; one that turns into a rise is not."""
    times = np.arange(float(STEPS))
    flattening = assessed(2.0 + np.exp(-times / 20.0) + noise(0.01))
    turning = assessed(2.0 + np.abs(times - 50.0) / 100.0 + noise(0.01))
    assert flattening.parts["acceleration"] > 0.9
    assert turning.parts["acceleration"] < 0.1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=8))
def test_entropy_lies_between_its_extremes(norms: list[float]) -> None:
    """At most 1, reached by equal norms; 0 for a single live group; scale-free."""
    entropy = energy_entropy(tuple(norms))
    assert 0.0 <= entropy <= 1.0 + 1e-12
    assert energy_entropy(tuple(10.0 * norm for norm in norms)) == pytest.approx(entropy, abs=1e-9)
    assert energy_entropy((norms[0],) * len(norms)) == pytest.approx(1.0)
    assert energy_entropy((norms[0], *[0.0] * (len(norms) - 1))) == 0.0


def test_parts_without_data_are_left_out() -> None:
    """One parameter group and no forecasts: the score is the mean of the other three parts."""
    health = assessed(3.0 - 0.01 * np.arange(STEPS) + noise(0.1))
    assert set(health.parts) == {"velocity", "acceleration", "stability"}
    weights = {"velocity": 0.25, "acceleration": 0.15, "stability": 0.20}
    expected = sum(weights[name] * value for name, value in health.parts.items()) / 0.6
    assert health.score == pytest.approx(expected)


def test_nothing_is_said_before_the_window_is_full() -> None:
    """99 of 100 steps give no assessment; non-finite steps do not count."""
    monitor = HealthMonitor(TuningConfig(plateau_steps=STEPS))
    for loss in [math.nan, *([2.0] * (STEPS - 1))]:
        monitor.observe(loss, 1.0, (), None)
    early = monitor.assess()
    assert (early.score, early.band, early.recommendations) == (None, "unmeasured", ())
    monitor.observe(2.0, 1.0, (), None)
    assert monitor.assess().score is not None


def test_restart_forgets_the_window() -> None:
    """After a change to the run the old window says nothing any more."""
    monitor = HealthMonitor(TuningConfig(plateau_steps=STEPS))
    for _ in range(STEPS):
        monitor.observe(2.0, 1.0, (), None)
    assert monitor.assess().plateau
    monitor.restart()
    assert monitor.assess().score is None


def train(rate: float, *, act: bool, noise_scale: float, seed: int = 0) -> tuple[float, float]:
    """SGD on a noisy quadratic for 1000 steps; the mean of the last 50 losses and the final learning rate."""
    rng = np.random.default_rng(seed)
    weights = np.ones(len(CURVATURES))
    monitor = HealthMonitor(TuningConfig(plateau_steps=STEPS))
    losses: list[float] = []
    for step in range(1000):
        gradient = CURVATURES * weights + noise_scale * rng.standard_normal(len(weights))
        losses.append(0.5 * float(CURVATURES @ weights**2))
        monitor.observe(losses[-1], float(np.linalg.norm(gradient)), (), None)
        weights -= rate * gradient
        factor = advice(monitor.assess()).get(Advice.LEARNING_RATE) if act and step % 50 == 0 else None
        if factor is not None:
            rate *= factor
            monitor.restart()
    return float(np.mean(losses[-50:])), rate


@pytest.mark.parametrize("seed", range(3))
def test_acting_on_the_advice_calms_an_oscillating_run(seed: int) -> None:
    """At 1.95 / curvature noise keeps the loss up; following the advice cuts it by five or more."""
    left_alone, _ = train(0.195, act=False, noise_scale=0.5, seed=seed)
    advised, rate = train(0.195, act=True, noise_scale=0.5, seed=seed)
    assert rate < 0.195
    assert advised < 0.2 * left_alone


def test_acting_on_the_advice_saves_a_diverging_run() -> None:
    """At 2.02 / curvature the loss grows without bound; following the advice ends below where it began."""
    start = 0.5 * CURVATURES.sum()
    left_alone, _ = train(0.202, act=False, noise_scale=0.1)
    advised, _ = train(0.202, act=True, noise_scale=0.1)
    assert left_alone > 10.0 * start
    assert advised < 0.1 * start


def test_acting_on_the_advice_speeds_up_a_timid_run() -> None:
    """A rate 20 000 times too small: the advice raises it and ends lower."""
    left_alone, _ = train(1e-5, act=False, noise_scale=0.0)
    advised, rate = train(1e-5, act=True, noise_scale=0.0)
    assert rate > 1e-5
    assert advised < 0.9 * left_alone


def test_a_restored_monitor_gives_the_same_assessment() -> None:
    """Through JSON, then continued."""
    monitor, twin = (HealthMonitor(TuningConfig(plateau_steps=STEPS)) for _ in range(2))
    rng = np.random.default_rng(5)
    for step in range(2 * STEPS):
        if step == STEPS + 30:
            twin.load_state_dict(json.loads(json.dumps(monitor.state_dict())))
        numbers = rng.standard_normal(3)
        arguments = (
            float(numbers[0]),
            float(abs(numbers[1])),
            (1.0, float(abs(numbers[2]))),
            float(numbers[2]),
        )
        monitor.observe(*arguments)
        if step >= STEPS + 30:
            twin.observe(*arguments)
    assert twin.assess() == monitor.assess()
    assert twin.assess().score is not None
