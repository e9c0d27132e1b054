"""The controls: what is spent without moving anything, and moves that mean nothing."""

import numpy as np
import pytest
from references.simulated_path import random_path

from hpt.config import HybridConfig, PredictConfig
from hpt.jump.delta import WeightDelta
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.controls import Frozen, Random
from hpt.predictors.nesterov import Nesterov

TREND = LossTrend(8)


@pytest.mark.parametrize("preset", ["ramp", "short"])
@pytest.mark.parametrize(("cycle", "progress", "max_horizon"), [(2, 0.1, 75), (3, 0.2, 200), (6, 0.5, 75), (8, 0.9, 9)])
def test_frozen_spends_the_call_and_moves_nothing(preset: str, cycle: int, progress: float, max_horizon: int) -> None:
    """Same moments and horizons as `ramp`, whatever preset is set; the weight delta is exactly zero."""
    config = HybridConfig(predict=PredictConfig(preset=preset))
    path = random_path(0, 8)
    stats = path.stats(cycle, progress=progress)

    frozen = Frozen(config).propose(stats, TREND, max_horizon)
    ramp = Nesterov(config, preset="ramp").propose(stats, TREND, max_horizon)

    assert (frozen is None) == (ramp is None)
    if frozen is not None and ramp is not None:
        assert frozen.horizon == ramp.horizon
        assert not path.jump(frozen.delta, cycle).any()
        assert np.any(path.jump(ramp.delta, cycle))


def random_delta(cycle: int, seed: int = 0) -> WeightDelta:
    proposal = Random(HybridConfig(seed=seed)).propose(random_path(0, 9).stats(cycle, progress=0.5), TREND, 75)
    assert proposal is not None
    return proposal.delta


def test_random_is_noise_of_two_thirds_of_the_displacement() -> None:
    """No pull-back, an expected norm of .67 |d|, along noise."""
    delta, stats = random_delta(5), random_path(0, 9).stats(5)
    assert (delta.pull_back, delta.gain, delta.orthogonal) == (0.0, 0.67, False)
    assert stats.delta_norm(delta) == pytest.approx(0.67 * stats.displacement_norm)


def test_seed_and_cycle_fix_the_noise() -> None:
    """Asked twice it is the same; another cycle or seed has another; and it fits a checkpoint's whole numbers."""
    seeds = [random_delta(cycle, seed).noise_seed for cycle, seed in ((5, 0), (5, 0), (6, 0), (5, 1))]
    assert seeds[0] == seeds[1]
    assert len({*seeds}) == 3
    assert all(one is not None and 0 <= one < 2**63 for one in seeds)


def test_random_speaks_when_the_preset_does_and_for_as_long() -> None:
    """Same cycles and horizon as the preset it is the control of."""
    path, config = random_path(0, 5), HybridConfig()
    for cycle in range(1, 6):
        stats = path.stats(cycle, progress=0.4)
        mine, base = Random(config).propose(stats, TREND, 75), Nesterov(config).propose(stats, TREND, 75)
        assert (mine is None) == (base is None)
        if mine is not None and base is not None:
            assert mine.horizon == base.horizon
