"""The line through the last weights, against numpy's polynomial fit on every weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.extrapolation import fitted_line
from references.trajectory_facts import random_path

from hpt.config import HybridConfig
from hpt.predictors.linefit import LineFit


def states_of(displacements: np.ndarray, count: int) -> np.ndarray:
    states = np.concatenate([np.zeros((1, displacements.shape[1])), np.cumsum(displacements, axis=0)])
    return states[-(count + 1) :]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(1, 8), ahead=st.floats(0.1, 4.0))
def test_the_jump_lands_on_the_fitted_line(seed: int, count: int, ahead: float) -> None:
    """Last state plus jump equals numpy.polyfit's line, `ahead` cycles on, for every weight."""
    path = random_path(seed, num_cycles=count + 2, num_past=count)
    cycle = count + 2

    proposal = LineFit(HybridConfig(), count, ahead).propose(path.facts(cycle), max_horizon=10**6)

    assert proposal is not None
    states = states_of(path.displacements, count)
    landed = states[-1] + path.jump(proposal.coefficients, cycle)
    np.testing.assert_allclose(landed, fitted_line(states, count + ahead), rtol=1e-9, atol=1e-9)


def test_one_displacement_is_two_point_prediction() -> None:
    """With c = 1 it continues the last displacement: factor h on d0 and nothing else."""
    path = random_path(seed=3, num_cycles=1, num_past=1)

    proposal = LineFit(HybridConfig(), num_displacements=1, ahead=2.0).propose(path.facts(1), max_horizon=1000)

    assert proposal is not None
    assert proposal.coefficients == {"d0": pytest.approx(2.0, rel=1e-15)}
    assert proposal.horizon == 100


def test_a_long_line_is_read_off_earlier() -> None:
    """Two cycles of 50 steps capped at 75: the point 1.5 cycles ahead, exactly."""
    path = random_path(seed=4, num_cycles=5, num_past=5)

    capped = LineFit(HybridConfig(), ahead=2.0).propose(path.facts(5), max_horizon=75)
    nearer = LineFit(HybridConfig(), ahead=1.5).propose(path.facts(5), max_horizon=1000)

    assert capped is not None
    assert capped == nearer
    assert capped.horizon == 75


def test_it_waits_for_all_its_states() -> None:
    """Five displacements by default, so nothing after four cycles."""
    path = random_path(seed=5, num_cycles=5, num_past=5)
    predictor = LineFit(HybridConfig())

    assert predictor.propose(path.facts(4), 75) is None
    assert predictor.propose(path.facts(5), 75) is not None
