"""Dynamic mode decomposition against linear systems whose future is known, and against the explicit map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.extrapolation import mode_forecast
from references.trajectory_facts import SimulatedPath, random_path

from hpt.config import HybridConfig
from hpt.predictors.dmd import DynamicModes, forecast_weights


def linear_moves(seed: int, angle: float, size: float, count: int) -> np.ndarray:
    """Moves u_{i+1} = A u_i in 9 dimensions: a rotation by `angle` times `size` in a plane, and a mode .5."""
    generator = np.random.default_rng(seed)
    basis = generator.standard_normal((9, 3))  # oblique on purpose
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inner = np.zeros((3, 3))
    inner[:2, :2], inner[2, 2] = turn, 0.5
    rows = [np.array([1.0, 0.5, 2.0])]
    for _ in range(count - 1):
        rows.append(inner @ rows[-1])
    return np.array(rows) @ basis.T


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), angle=st.floats(0.3, 2.5), ahead=st.integers(1, 4))
def test_the_future_of_a_linear_system_is_exact(seed: int, angle: float, ahead: int) -> None:
    """Rank 3 moves with a complex pair and a real mode: the jump is the sum of the next true moves."""
    moves = linear_moves(seed, angle, size=0.9, count=7 + ahead)
    path = SimulatedPath(moves, num_past=7)
    predictor = DynamicModes(HybridConfig(), num_past=7, rank=3, ahead=ahead)
    for cycle in range(1, 8):
        predictor.end_cycle(path.facts(cycle))

    proposal = predictor.propose(path.facts(7), max_horizon=10**6)

    assert proposal is not None
    expected = moves[7:].sum(axis=0)
    jump = path.jump(proposal.coefficients, 7)
    # Squaring into inner products costs half the digits of the smallest mode.
    np.testing.assert_allclose(jump, expected, atol=1e-4 * np.abs(moves).max())
    assert proposal.horizon == 50 * ahead


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), rank=st.integers(1, 4), ahead=st.integers(1, 3))
def test_it_equals_the_explicit_map_on_noise(seed: int, rank: int, ahead: int) -> None:
    """From inner products alone, the same forecast as the P x P map with its eigenvalues clipped."""
    path = random_path(seed, num_cycles=6, num_past=6)
    gram = path.displacements @ path.displacements.T

    weights = forecast_weights(gram, rank, ahead)

    assert weights is not None
    expected = mode_forecast(path.displacements, rank, ahead)
    np.testing.assert_allclose(weights @ path.displacements[:-1], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("rate", "expected"), [(1.5, 3.0), (-2.0, -1.0), (0.5, 0.875)])
def test_growth_is_not_forecast(rate: float, expected: float) -> None:
    """One mode, three cycles ahead: factors above one count as one in size, those below as they are."""
    moves = np.outer(rate ** np.arange(5), [1.0, 2.0])
    gram = moves @ moves.T

    weights = forecast_weights(gram, rank=2, ahead=3)

    assert weights is not None
    np.testing.assert_allclose(weights @ moves[:-1], expected * moves[-1], rtol=1e-9)


def test_a_map_without_an_eigenbasis_is_not_used() -> None:
    """u_i = v + i w has the one eigenvector v: no forecast rather than a wild one."""
    moves = np.outer(np.ones(6), [1.0, 0.0]) + np.outer(np.arange(6.0), [0.0, 1.0])

    assert forecast_weights(moves @ moves.T, rank=2, ahead=1) is None


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_past_without_movement_or_numbers_gives_no_jump(value: float) -> None:
    """All displacements zero or not finite: None, not a division by zero or a failed decomposition."""
    path = SimulatedPath(np.full((6, 3), value), num_past=6)
    predictor = DynamicModes(HybridConfig())
    for cycle in range(1, 7):
        predictor.end_cycle(path.facts(cycle))

    assert predictor.propose(path.facts(6), 75) is None


def test_a_long_forecast_is_shortened() -> None:
    """Three cycles of 50 steps capped at 75: half the coefficients, horizon 75."""
    path = random_path(seed=1, num_cycles=6, num_past=6)
    predictor = DynamicModes(HybridConfig(), ahead=3)
    for cycle in range(1, 7):
        predictor.end_cycle(path.facts(cycle))

    whole = predictor.propose(path.facts(6), max_horizon=150)
    capped = predictor.propose(path.facts(6), max_horizon=75)

    assert whole is not None
    assert capped is not None
    assert capped.horizon == 75
    assert capped.coefficients == {name: 0.5 * value for name, value in whole.coefficients.items()}
