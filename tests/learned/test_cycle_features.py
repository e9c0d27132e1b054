"""Cycle features equal angles and lengths taken from the displacements themselves; jump features by hand."""

import dataclasses
import math

import numpy as np
import pytest
from references.blocks import joined, one_step
from references.simulated_path import SimulatedPath
from references.slow_features import cycle_angles

from hpt.history import NEVER
from hpt.jump.stats import JumpOutcome
from hpt.learned.cycle_features import CYCLE_NAMES, JUMP_NAMES, CycleFeatures, JumpFeatures
from hpt.learned.step_features import StepRows

GROUPS = (np.arange(4), np.arange(4, 10))


ALL = (np.arange(10),)


def path_of(groups: tuple[np.ndarray, ...] = GROUPS, scale: float = 0.8) -> SimulatedPath:
    generator = np.random.default_rng(0)
    displacements = generator.standard_normal((30, 10)) + 0.5 * generator.standard_normal(10)
    return SimulatedPath(displacements, scale, num_steps=5, groups=groups)


def observed(path: SimulatedPath, cycles: int, lr_frac: float = 1.0) -> dict[str, float]:
    features = CycleFeatures()
    for cycle in range(1, cycles + 1):
        features.observe_steps(joined([one_step(loss=float(cycle), lr_frac=lr_frac)] * 5))
        features.observe(path.stats(cycle), 0.25)
    return dict(zip(CYCLE_NAMES, features.values, strict=True))


NAMES = {"angle": "trend_angle", "size": "trend_size", "lagged_angle": "lagged_angle", "coherence": "coherence"}


@pytest.mark.parametrize("cycles", [2, 3, 30])
@pytest.mark.parametrize("scale", [0.5, 0.95])
def test_angles_and_lengths_are_those_of_the_vectors(cycles: int, scale: float) -> None:
    """Angle, size, lagged angle, coherence and growth of the trend equal those of explicit vectors."""
    path = path_of(scale=scale)
    found = observed(path, cycles)
    for name, expected in cycle_angles(path.displacements[:cycles], scale).items():
        assert found[NAMES[name]] == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    growth = np.linalg.norm(path.ema(cycles)) / np.linalg.norm(path.ema(cycles - 1))
    assert found["trend_growth"] == pytest.approx(np.log(growth), rel=1e-9)


def test_groups_are_compared() -> None:
    """The last features compare |d| and the lagged angle of the first two groups."""
    path = path_of()
    d, before = path.displacements[11], path.ema(11)
    norms = [np.linalg.norm(d[group]) for group in GROUPS]
    angles = [d[group] @ before[group] / np.linalg.norm(d[group]) / np.linalg.norm(before[group]) for group in GROUPS]
    found = observed(path, 12)
    assert found["group_displacement"] == pytest.approx(np.log(norms[0] / norms[1]), rel=1e-9)
    assert found["group_trend"] == pytest.approx(angles[0] - angles[1], rel=1e-9)


def test_lengths_are_per_learning_rate() -> None:
    """Half the learning rate at the same displacement is twice the speed; growth, a ratio, does not feel it."""
    path = path_of()
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
    assert observed(path_of(), 6)["cycle_loss"] == pytest.approx(4.0)


def test_the_first_cycle_says_nothing() -> None:
    """After one cycle E is d, whatever the run does; the features stay at zero."""
    assert set(observed(path_of(), 1).values()) == {0.0}


def test_slow_features_are_averages_over_cycles() -> None:
    """They average the trend's features with gain 1/4 from their first value on."""
    path = path_of()
    expected = cycle_angles(path.displacements[:2], 0.8)
    for cycles in range(3, 9):
        for name, value in cycle_angles(path.displacements[:cycles], 0.8).items():
            expected[name] += (value - expected[name]) / 4
    found = observed(path, 8)
    assert {name: found[f"{NAMES[name]}_slow"] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_one_group_shows_growth_and_turning() -> None:
    """With one group the last features are the growth of |d| over two cycles and the turning of E in one."""
    path = path_of(ALL)
    found = observed(path, 12)
    growth = np.linalg.norm(path.displacements[11]) / np.linalg.norm(path.displacements[9])
    one, other = path.ema(12), path.ema(11)
    turning = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert found["group_displacement"] == pytest.approx(np.log(growth), rel=1e-9)
    assert found["group_trend"] == pytest.approx(turning, rel=1e-9)


def test_the_slowest_angle_is_an_average_over_cycles() -> None:
    """It averages the lagged angle with gain 1/10 from its first value on."""
    path = path_of()
    angles = [cycle_angles(path.displacements[:cycles], 0.8)["lagged_angle"] for cycles in range(2, 21)]
    expected = angles[0]
    for angle in angles[1:]:
        expected += (angle - expected) / 10
    assert observed(path, 20)["lagged_angle_slowest"] == pytest.approx(expected, rel=1e-9)


def test_a_displacement_of_zero_gives_finite_features() -> None:
    """A cycle that moved nothing (all updates skipped) leaves every feature finite."""
    path = path_of()
    still = dataclasses.replace(path, displacements=np.zeros((5, 10)))
    assert np.isfinite(list(observed(still, 5).values())).all()


class Jumps:
    """Jump features told of one step after the other."""

    def __init__(self, cycle_steps: int) -> None:
        self.features = JumpFeatures(cycle_steps)

    def step(self, cycle_frac: float, since: int, level: float = 2.0, fast: float = 2.5) -> dict[str, float]:
        """The features after a step with these levels before and after it, at a noise of a half."""
        told = StepRows(np.zeros((1, 43)), np.array([0.5]), np.array([level]), np.array([fast]))
        steps = one_step(cycle_frac=cycle_frac, steps_since_jump=since)
        return dict(zip(JUMP_NAMES, self.features.observe_steps(steps, told)[0].tolist(), strict=True))

    def judge(self, *, kept: bool, good: bool, loss_change: float | None = 0.2) -> None:
        """A verdict at the same noise."""
        self.features.observe(
            JumpOutcome(
                1, "short", kept, rolled_back=False, norm_ratio=0.6, gain=2.0, loss_change=loss_change, good=good
            ),
            0.5,
        )


def test_time_runs_from_the_last_jump_or_the_cycle_before_it() -> None:
    """Before the first jump time is the position in the cycle, then full steps since the jump, over K."""
    jumps = Jumps(10)
    assert jumps.step(0.3, NEVER)["jump_recency"] == pytest.approx(math.exp(-0.3))
    assert jumps.step(0.1, 12)["jump_recency"] == pytest.approx(math.exp(-1.2))


def test_settling_is_measured_from_the_level_before_the_jump() -> None:
    """The anchor is the level before the first step after a jump and stays until the next one."""
    jumps = Jumps(10)
    jumps.step(0.9, 9, level=3.0)
    assert jumps.step(0.1, 1, level=2.0, fast=2.5)["jump_settling"] == pytest.approx(1.0)
    assert jumps.step(0.2, 2, level=99.0, fast=1.5)["jump_settling"] == pytest.approx(-1.0)
    assert jumps.step(0.1, 1, level=1.5, fast=1.5)["jump_settling"] == 0.0


def test_sums_decay_over_cycles() -> None:
    """Gains of kept jumps add up and fall to 1/e in two cycles; verdicts, good sizes minus bad ones, in eight."""
    jumps = Jumps(5)
    jumps.judge(kept=True, good=True)
    jumps.judge(kept=True, good=True)
    jumps.judge(kept=False, good=False)
    found = [jumps.step(0.5, 1) for _ in range(40)]
    assert found[9]["jump_gain"] == pytest.approx(4.0 / math.e)
    assert found[39]["jump_gain"] == pytest.approx(4.0 / math.e**4)
    assert found[39]["jump_verdicts"] == pytest.approx(0.6 / math.e)


def test_effect_is_the_probe_or_else_what_the_loss_did() -> None:
    """The probed loss change over the noise; without a probe, the settling at the time of the verdict."""
    jumps = Jumps(10)
    jumps.judge(kept=True, good=True)
    assert jumps.step(0.1, 1, level=2.0, fast=2.7)["jump_effect"] == pytest.approx(0.4)
    jumps.judge(kept=True, good=True, loss_change=None)
    assert jumps.step(0.2, 2)["jump_effect"] == pytest.approx(1.4)


def test_a_rejected_jump_leaves_the_last_kept_one_in_place() -> None:
    """Size and effect tell of kept jumps only."""
    jumps = Jumps(10)
    jumps.judge(kept=True, good=True)
    before = jumps.step(0.1, 1)
    jumps.judge(kept=False, good=False, loss_change=9.0)
    after = jumps.step(0.2, 2)
    assert (after["jump_size"], after["jump_effect"]) == (before["jump_size"], before["jump_effect"]) == (0.6, 0.4)
