"""Cycle features equal angles and lengths taken from the displacements themselves."""

import dataclasses

import numpy as np
import pytest
from references.slow_features import cycle_angles
from references.trajectory_facts import SimulatedPath

from hpt.errors import ConfigError
from hpt.learned.cycle_features import CYCLE_NAMES, CycleFeatures

GROUPS = (np.arange(4), np.arange(4, 10))


def path_of(scales: tuple[float, ...], groups: tuple[np.ndarray, ...] = GROUPS) -> SimulatedPath:
    generator = np.random.default_rng(0)
    displacements = generator.standard_normal((30, 10)) + 0.5 * generator.standard_normal(10)
    return SimulatedPath(displacements, scales, num_steps=5, groups=groups)


def observed(path: SimulatedPath, cycles: int, lr_frac: float = 1.0) -> dict[str, float]:
    features = CycleFeatures(len(path.groups), path.scales)
    for cycle in range(1, cycles + 1):
        for _ in range(5):
            features.observe_step(float(cycle), lr_frac)
        features.observe(path.facts(cycle), 0.25)
    return dict(zip(CYCLE_NAMES, features.values, strict=True))


@pytest.mark.parametrize("cycles", [2, 3, 30])
def test_angles_and_lengths_are_those_of_the_vectors(cycles: int) -> None:
    """Angle, size, lagged angle and coherence of both scales equal those of explicit vectors."""
    path = path_of((0.95, 0.5, 0.8))
    found = observed(path, cycles)
    for scale, mu in (("short", 0.5), ("long", 0.95)):
        for name, expected in cycle_angles(path.displacements[:cycles], mu).items():
            assert found[f"{scale}_{name}"] == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    short, long = path.ema(cycles, 0.5), path.ema(cycles, 0.95)
    cosine = short @ long / np.linalg.norm(short) / np.linalg.norm(long)
    assert found["trend_angle"] == pytest.approx(cosine, rel=1e-9)


def test_groups_are_compared() -> None:
    """The last features compare |d| and the lagged angle of the first two groups."""
    path = path_of((0.8, 0.95))
    d, before = path.displacements[11], path.ema(11, 0.8)
    norms = [np.linalg.norm(d[group]) for group in GROUPS]
    angles = [d[group] @ before[group] / np.linalg.norm(d[group]) / np.linalg.norm(before[group]) for group in GROUPS]
    found = observed(path, 12)
    assert found["group_displacement"] == pytest.approx(np.log(norms[0] / norms[1]), rel=1e-9)
    assert found["group_trend"] == pytest.approx(angles[0] - angles[1], rel=1e-9)


def test_lengths_are_per_learning_rate() -> None:
    """Half the learning rate at the same displacement is twice the speed; growth, a ratio, does not feel it."""
    path = path_of((0.8, 0.95))
    full, half = observed(path, 8), observed(path, 8, lr_frac=0.5)
    weights = np.linalg.norm(path.displacements[:8].sum(axis=0))
    assert full["displacement_speed"] == pytest.approx(
        np.log(np.linalg.norm(path.displacements[7]) / weights), rel=1e-9
    )
    assert half["displacement_speed"] == pytest.approx(full["displacement_speed"] + np.log(2), rel=1e-9)
    growth = np.linalg.norm(path.displacements[7]) / np.linalg.norm(path.displacements[6])
    assert full["displacement_growth"] == pytest.approx(np.log(growth), rel=1e-9)
    assert half["displacement_growth"] == pytest.approx(full["displacement_growth"], rel=1e-9)


def test_loss_change_is_between_cycles_in_units_of_the_noise() -> None:
    """Losses that rise by 1 a cycle at a noise of 0.25 change by 4 a cycle."""
    assert observed(path_of((0.8, 0.95)), 6)["cycle_loss"] == pytest.approx(4.0)


def test_the_first_cycle_says_nothing() -> None:
    """After one cycle E is d, whatever the run does; the features stay at zero."""
    assert set(observed(path_of((0.8, 0.95)), 1).values()) == {0.0}


def test_one_scale_is_averaged_in_place_of_the_long_one() -> None:
    """With one scale the long features are the short ones averaged with gain 1/4 from their first value on."""
    path = path_of((0.8,))
    expected = cycle_angles(path.displacements[:2], 0.8)
    for cycles in range(3, 9):
        for name, value in cycle_angles(path.displacements[:cycles], 0.8).items():
            expected[name] += (value - expected[name]) / 4
    found = observed(path, 8)
    assert {name: found[f"long_{name}"] for name in expected} == pytest.approx(expected, rel=1e-9)
    growth = np.linalg.norm(path.ema(8, 0.8)) / np.linalg.norm(path.ema(7, 0.8))
    assert found["trend_angle"] == pytest.approx(np.log(growth), rel=1e-9)


def test_one_group_shows_growth_and_turning() -> None:
    """With one group the last features are the growth of |d| over two cycles and the turning of E in one."""
    path = path_of((0.8, 0.95), (np.arange(10),))
    found = observed(path, 12)
    growth = np.linalg.norm(path.displacements[11]) / np.linalg.norm(path.displacements[9])
    one, other = path.ema(12, 0.8), path.ema(11, 0.8)
    turning = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert found["group_displacement"] == pytest.approx(np.log(growth), rel=1e-9)
    assert found["group_trend"] == pytest.approx(turning, rel=1e-9)


def test_slow_angle_is_an_average_over_cycles() -> None:
    """The slow angle averages the short lagged angle with gain 1/10 from its first value on."""
    path = path_of((0.8, 0.95))
    angles = [cycle_angles(path.displacements[:cycles], 0.8)["lagged_angle"] for cycles in range(2, 21)]
    expected = angles[0]
    for angle in angles[1:]:
        expected += (angle - expected) / 10
    assert observed(path, 20)["lagged_angle_slow"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scales", [(), (0.0,)])
def test_a_trend_needs_a_time_scale(scales: tuple[float, ...]) -> None:
    """Without a time scale above 0 there is no trend to describe."""
    with pytest.raises(ConfigError, match=r"trajectory\.scales"):
        CycleFeatures(1, scales)


def test_a_displacement_of_zero_gives_finite_features() -> None:
    """A cycle that moved nothing (all updates skipped) leaves every feature finite."""
    path = path_of((0.8, 0.95))
    still = dataclasses.replace(path, displacements=np.zeros((5, 10)))
    assert np.isfinite(list(observed(still, 5).values())).all()
