"""The monitor is silent on ordinary runs, names each planted fault at its level, and asks when a rise lasts."""

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from references.stepwise_monitor import Said, StepwiseMonitor

from hpt.control.divergence import EXPLAINED_STEPS, JudgedSteps, Level

STEPS = 2000
SIGMA = 0.1


def noise(kind: str, seed: int, count: int = STEPS) -> NDArray[np.float64]:
    """Unit-variance noise (the t distribution: unit scale), independent or AR(1) with coefficient 0.9."""
    rng = np.random.default_rng(seed)
    if kind == "student":
        return rng.standard_t(5, count)
    shocks = rng.standard_normal(count)
    if kind == "gauss":
        return shocks
    values = [shocks[0]]
    for shock in shocks[1:]:
        values.append(0.9 * values[-1] + math.sqrt(1 - 0.81) * shock)
    return np.array(values)


def falling(count: int = STEPS) -> NDArray[np.float64]:
    """A loss curve that falls fast, then slowly."""
    return 2.0 + 9.0 * np.exp(-np.arange(count) / 60.0) + 0.5 * np.exp(-np.arange(count) / 1500.0)


def watched(seed: int = 0, count: int = 400) -> tuple[StepwiseMonitor, float]:
    """A monitor after an ordinary noisy run with unit gradient norms, and the loss expected next."""
    monitor = StepwiseMonitor()
    for loss in falling(count) + SIGMA * noise("gauss", seed, count):
        monitor.check(float(loss), None, None, 1.0)
    return monitor, float(falling(count)[-1])


def named(verdict: Said) -> dict[str, Level]:
    return {signal.name: signal.level for signal in verdict.signals}


@pytest.mark.parametrize("kind", ["gauss", "student", "ar"])
def test_ordinary_noise_raises_less_than_one_warning_in_2000_steps(kind: str) -> None:
    """Ten runs of 2000 steps, loss and gradient noise included: fewer than ten warnings together."""
    warnings = 0
    for seed in range(10):
        losses = falling() + SIGMA * noise(kind, seed)
        norms = np.exp(0.5 * noise("gauss", seed + 100))
        monitor = StepwiseMonitor()
        for loss, norm in zip(losses.tolist(), norms.tolist(), strict=True):
            warnings += monitor.check(loss, None, None, norm).level >= Level.WARNING
    assert warnings < 10


def test_a_falling_noiseless_loss_is_normal() -> None:
    """With no noise at all the spread has a floor, and a convex curve above its own trend is no rise."""
    monitor = StepwiseMonitor()
    levels = {monitor.check(loss, None, None, 1.0).level for loss in falling().tolist()}
    assert levels == {Level.NORMAL}


def test_it_is_silent_until_it_has_history() -> None:
    """A spike in the first 32 steps goes unremarked, the same spike later does not."""
    levels: list[Level] = []
    for count in (31, 39):
        monitor, expected = watched(count=count)
        levels.append(monitor.check(expected + 100.0, None, None, 1.0).level)
    assert levels == [Level.NORMAL, Level.WARNING]


def test_a_fall_that_ends_abruptly_is_normal() -> None:
    """After a straight fall the loss stands still, far above where the trend was heading."""
    losses = np.maximum(5.0 - 0.03 * np.arange(300.0), 2.0) + 0.2 * SIGMA * noise("gauss", 8, 300)
    monitor = StepwiseMonitor()
    assert {monitor.check(loss, None, None, 1.0).level for loss in losses.tolist()} == {Level.NORMAL}


def test_changes_below_a_share_of_the_loss_are_none() -> None:
    """A loss that is exactly constant may rise by 3 % (three floors of 1 %), but not by 5 % or 10 %."""
    levels: list[Level] = []
    for rise in (0.03, 0.05, 0.1):
        monitor = StepwiseMonitor()
        for _ in range(64):
            monitor.check(2.0, None, None, 1.0)
        levels.append(monitor.check(2.0 * (1.0 + rise), None, None, 1.0).level)
    assert levels == [Level.NORMAL, Level.CAUTION, Level.WARNING]


@pytest.mark.parametrize(
    ("rise_sigmas", "level"),
    [
        (0.0, Level.NORMAL),
        (-30.0, Level.NORMAL),
        (6.0, Level.CAUTION),
        (13.0, Level.WARNING),
        (1000.0, Level.WARNING),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_loss_spike_is_graded_by_its_height(rise_sigmas: float, level: Level, seed: int) -> None:
    """Thresholds 4 and 8 robust standard deviations, upward only; alone, no height is critical."""
    monitor, expected = watched(seed)
    verdict = monitor.check(expected + rise_sigmas * SIGMA, None, None, 1.0)
    assert verdict.level is level


def test_a_spike_on_a_steep_fall_is_seen() -> None:
    """Half a sigma a step downhill: a loss that was usual 40 steps ago is a warning now."""
    monitor = StepwiseMonitor()
    losses = 20.0 - 0.5 * SIGMA * np.arange(300) + SIGMA * noise("gauss", 7, 300)
    assert {monitor.check(loss, None, None, 1.0).level for loss in losses.tolist()} == {Level.NORMAL}
    assert monitor.check(20.0 - 0.5 * SIGMA * 260, None, None, 1.0).level is Level.WARNING


@pytest.mark.parametrize(
    ("norm", "found"),
    [
        (15.0, {}),
        (30.0, {"gradient_explosion": Level.WARNING}),
        (1e-3, {}),
        (1e-5, {"gradient_vanishing": Level.WARNING}),
        (math.inf, {"non_finite": Level.CRITICAL}),
    ],
)
def test_gradient_faults_are_graded_by_their_ratio(norm: float, found: dict[str, Level]) -> None:
    """Ratios to a running median of 1: above 20, below 1e-4."""
    monitor, expected = watched()
    assert named(monitor.check(expected, None, None, norm)) == found


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_non_finite_losses_are_critical_from_the_first_step(loss: float) -> None:
    """No history is needed, and the number does not enter it."""
    monitor = StepwiseMonitor()
    assert monitor.check(loss, None, None, None).level is Level.CRITICAL
    assert len(monitor.losses) == 0


@pytest.mark.parametrize(
    ("error_scales", "found"),
    [
        (3.0, {}),
        (-5.0, {"prediction_error": Level.CAUTION}),
        (50.0, {"prediction_error": Level.WARNING}),
        (math.nan, {"prediction_error": Level.WARNING}),
    ],
)
def test_a_poor_forecast_is_graded_in_its_own_scale(error_scales: float, found: dict[str, Level]) -> None:
    """An ordinary loss, a forecast off by so many of its scales: never critical, the run is sound."""
    monitor, expected = watched()
    assert named(monitor.check(expected, expected - error_scales * 0.01, 0.01, 1.0)) == found


@pytest.mark.parametrize("seed", range(5))
def test_growing_alternation_is_an_oscillation(seed: int) -> None:
    """Swings that grow by 5 % a step are found while they are still inside the caution band."""
    monitor, level = watched(seed)
    shocks = 0.2 * SIGMA * noise("gauss", seed, 64)
    swings = 0.15 * SIGMA * 1.05 ** np.arange(64) * (-1.0) ** np.arange(64)
    verdicts = [monitor.check(level + float(x), None, None, 1.0) for x in swings + shocks]
    assert {"oscillation": Level.WARNING} in [named(verdict) for verdict in verdicts]


@pytest.mark.parametrize("amplitude", [0.0, 3.0])
def test_noise_and_steady_alternation_are_no_oscillation(amplitude: float) -> None:
    """Independent noise turns at 2/3 of its points; an alternation that does not grow does no harm."""
    monitor = StepwiseMonitor()
    losses = 2.0 + SIGMA * (noise("gauss", 3) + amplitude * (-1.0) ** np.arange(STEPS))
    assert not any("oscillation" in named(monitor.check(loss, None, None, 1.0)) for loss in losses.tolist())


def test_an_oscillation_too_small_to_matter_is_none() -> None:
    """The same growing alternation, a thousandth of the loss at most."""
    monitor = StepwiseMonitor()
    losses = 2.0 * (1.0 + 1e-3 * 1.05 ** np.arange(-200.0, 0.0) * (-1.0) ** np.arange(200))
    assert not any(named(monitor.check(loss, None, None, 1.0)) for loss in losses.tolist())


@pytest.mark.parametrize("every", [1, 2, 3, 50])
def test_what_passes_is_no_question(every: int) -> None:
    """Losses a thousand sigma up, each `every` steps: critical if three fall within six steps, never otherwise."""
    monitor, expected = watched()
    losses = [expected + (1000 * SIGMA if step % every == 0 else 0.0) for step in range(120)]
    levels = {monitor.check(loss, None, None, 1.0).level for loss in losses}
    assert (Level.CRITICAL in levels) is (every <= 2)


@pytest.mark.parametrize(("height", "is_asked"), [(0.5, False), (1.0, False), (1.4, False), (1.6, True), (100.0, True)])
def test_what_the_data_explained_is_asked_about_only_beyond_half_as_much_again(height: float, is_asked: bool) -> None:
    """Judged at a cycle's end and watched step by step alike."""
    monitor, _ = watched()
    usual = monitor.inner.usual
    assert usual is not None
    rise = 50 * usual.scale
    monitor.inner.explain(usual.level + rise, 0)
    losses = [usual.level + height * rise] * 4
    asked = [monitor.inner.watch(is_unusual=monitor.inner.is_unusual(loss)) for loss in losses]
    assert any(asked) is is_asked
    levels = [monitor.check(loss, None, None, 1.0).level for loss in losses]
    assert (Level.CRITICAL in levels) is is_asked


def test_an_explanation_is_forgotten_after_200_steps() -> None:
    """Weights that break later are asked about, however high the data once were."""
    monitor, expected = watched()
    monitor.inner.explain(expected + 1e6, 0)
    for _ in range(EXPLAINED_STEPS):
        monitor.check(expected, None, None, 1.0)
    assert [monitor.inner.watch(is_unusual=monitor.inner.is_unusual(expected + 1e3)) for _ in range(3)] == [
        False,
        False,
        True,
    ]


def test_a_new_level_becomes_usual() -> None:
    """The loss is higher by a hundred sigma for good: after 128 steps at most that is the normal state."""
    monitor, expected = watched()
    shifted = expected + 100 * SIGMA + SIGMA * noise("gauss", 4, 256)
    levels = [monitor.check(float(loss), None, None, 1.0).level for loss in shifted]
    assert Level.CRITICAL in levels[:8]
    assert {Level.NORMAL, Level.CAUTION} >= set(levels[128:])


def test_repeated_warnings_become_critical() -> None:
    """The third warning within six steps raises the question, although none is critical alone."""
    monitor, expected = watched()
    high = expected + 11 * SIGMA
    levels = [monitor.check(loss, None, None, 1.0).level for loss in (high, expected, high, expected, high)]
    assert levels == [Level.WARNING, Level.NORMAL, Level.WARNING, Level.NORMAL, Level.CRITICAL]


@pytest.mark.parametrize("norm", [1e-6, 1e3])
def test_a_strange_gradient_or_poor_forecast_does_not_escalate(norm: float) -> None:
    """While the loss is as usual nothing is broken, so they stay warnings however long they last."""
    monitor, expected = watched()
    levels = {monitor.check(expected, expected + 1.0, 0.01, norm).level for _ in range(20)}
    assert levels == {Level.WARNING}


def test_one_outlier_blinds_nobody() -> None:
    """Right after a loss of 1e6 an ordinary step is normal and a spike of 40 sigma is still a warning."""
    monitor, expected = watched()
    assert monitor.check(1e6, None, None, 1e6).level is Level.WARNING
    for shock in SIGMA * noise("gauss", 9, 40):
        assert monitor.check(expected + float(shock), None, None, 1.0).level is Level.NORMAL
    assert monitor.check(expected + 40 * SIGMA, None, None, 1.0).level is Level.WARNING


def test_a_value_is_judged_before_it_joins_the_history() -> None:
    """The score is linear in the spike; a spike that is part of its own reference saturates."""
    values: list[float] = []
    for height in (1e3, 1e4):
        monitor, expected = watched()
        values.append(monitor.check(expected + height, None, None, 1.0).signals[0].value)
    assert values[1] / values[0] == pytest.approx(10.0, rel=1e-3)


def test_a_steady_rise_is_found_before_it_has_cost_much() -> None:
    """A climb of half a sigma a step is stopped within 32 steps, though no single step is a spike."""
    monitor, expected = watched()
    rising = expected + SIGMA * (0.5 * np.arange(32) + noise("gauss", 5, 32))
    assert Level.CRITICAL in [monitor.check(float(loss), None, None, 1.0).level for loss in rising]


def test_rolled_back_steps_are_forgotten() -> None:
    """After a rollback the state is that of a monitor that never saw the undone steps, its warnings aside."""
    monitor, expected = watched(count=400)
    before = monitor.inner.state_dict()
    bad = np.full(9, expected + 5.0)
    steps = JudgedSteps(bad, 100.0 * np.ones(9), np.full(9, np.nan), np.full(9, np.nan))
    assert monitor.inner.judge(monitor.losses, monitor.grad_norms, steps)
    monitor.inner.rolled_back(monitor.losses, monitor.grad_norms)
    assert monitor.inner.state_dict() == before | {"warned": []}
    assert monitor.check(expected, None, None, 1.0).level is Level.NORMAL


@pytest.mark.parametrize("size", [1, 7, 30, 128])
def test_a_cycle_judged_at_once_is_judged_step_by_step(size: int) -> None:
    """The same alarms at the same places, whatever the number of steps shown together."""
    one, other = watched(3)[0], watched(3)[0]
    shocks = SIGMA * noise("student", 11, 256) * np.where(np.arange(256) % 50 < 3, 12.0, 1.0)
    shocks[130:136] = 20 * SIGMA
    losses, norms = 2.5 + shocks, np.exp(noise("gauss", 12, 256))
    expected = [one.check(float(loss), 2.5, SIGMA, float(norm)) for loss, norm in zip(losses, norms, strict=True)]
    found = [Said(Level.NORMAL)] * 256
    for first in range(0, 256, size):
        block = slice(first, first + size)
        forecast = np.full(len(losses[block]), 2.5)
        steps = JudgedSteps(losses[block], norms[block], forecast, SIGMA * np.ones_like(forecast))
        for alarm in other.inner.judge(other.losses, other.grad_norms, steps):
            found[first + alarm.place] = Said(alarm.level, alarm.signals)
        other.losses = np.append(other.losses, losses[block])[-128:]
        other.grad_norms = np.append(other.grad_norms, norms[block])[-128:]
    assert any(said.level is Level.CRITICAL for said in expected)
    assert found == expected


def test_a_restored_monitor_gives_the_same_verdicts() -> None:
    """Saved between two renewals and sent through JSON, it continues exactly."""
    monitor, expected = watched(count=403)
    warnings = [monitor.check(expected + 11 * SIGMA, None, None, 1.0).level for _ in range(2)]
    assert warnings == [Level.WARNING] * 2
    twin = monitor.twin(json.loads(json.dumps(monitor.inner.state_dict())))
    for shock in [11 * SIGMA, *(5 * SIGMA * noise("student", 6, 100))]:
        arguments = (expected + float(shock), expected, SIGMA, float(np.exp(shock)))
        assert twin.check(*arguments) == monitor.check(*arguments)
