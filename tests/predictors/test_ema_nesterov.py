"""EMA-Nesterov at cycle cadence against the method itself, run step by step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.outer_nesterov import ema_nesterov_run
from references.simulated_path import SimulatedPath, random_path

from hpt.config import HybridConfig
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.ema_nesterov import EmaNesterov

TREND = LossTrend(8)


def predictor_of(num_steps: int) -> EmaNesterov:
    return EmaNesterov(HybridConfig(full_steps=num_steps))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), num_steps=st.integers(4, 60), num_cycles=st.integers(3, 12))
def test_the_jump_is_the_look_ahead_of_one_cycle(seed: int, num_steps: int, num_cycles: int) -> None:
    """Updates constant within each cycle: gain x E, bias correction undone, is K steps of look-ahead b m."""
    generator = np.random.default_rng(seed)
    per_step = generator.standard_normal((num_cycles, 5))
    _, trend = ema_nesterov_run(np.repeat(per_step, num_steps, axis=0), decay=0.99, strength=0.8)
    predictor = predictor_of(num_steps)
    path = SimulatedPath(per_step * num_steps, predictor.scale, num_steps=num_steps)

    proposal = predictor.propose(path.stats(num_cycles, progress=0.5), TREND, 10**6)

    assert proposal is not None
    correction = 1.0 - predictor.scale**num_cycles
    jump = path.jump(proposal.delta, num_cycles) * correction
    expected = num_steps * 0.8 * trend
    np.testing.assert_allclose(jump, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_a_steady_drift_is_amplified_as_in_the_method() -> None:
    """With constant updates v the method moves v / (1 - b) a step in the end; so does cycle plus jump."""
    drift, num_steps = np.array([1.0, -3.0]), 20
    _, trend = ema_nesterov_run(np.tile(drift, (8000, 1)), decay=0.99, strength=0.8)
    predictor = predictor_of(num_steps)
    path = SimulatedPath(np.tile(drift * num_steps, (4, 1)), predictor.scale, num_steps=num_steps)

    proposal = predictor.propose(path.stats(4), TREND, 10**6)

    assert proposal is not None
    total = path.displacements[3] + path.jump(proposal.delta, 4)
    np.testing.assert_allclose(total / num_steps, drift + 0.8 * trend, rtol=1e-5)
    np.testing.assert_allclose(total / num_steps, 5.0 * drift, rtol=1e-12)


def test_there_is_no_pull_back_and_the_horizon_is_capped() -> None:
    """Gain 4 over 50 steps would stand for 200; capped at 75 the gain is 75 / 50."""
    predictor = predictor_of(50)
    path = random_path(0, 3, scale=predictor.scale)

    proposal = predictor.propose(path.stats(3), TREND, 75)

    assert proposal is not None
    assert proposal.horizon == 75
    assert (proposal.delta.pull_back, proposal.delta.gain) == (0.0, 1.5)
    assert proposal.delta.scale == predictor.scale == pytest.approx(0.998**50)
    assert predictor.propose(path.stats(2), TREND, 75) is None
