"""The regressed displacement against weighted least squares on the stored vectors themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.trajectory_facts import SimulatedPath, random_path

from hpt.config import HybridConfig
from hpt.predictors.hindsight import Hindsight

SCALES = (0.5, 0.8, 0.95)
NAMES = ["d", "E0.5", "E0.8", "E0.95"]


def run(predictor: Hindsight, path: SimulatedPath, num_cycles: int) -> None:
    for cycle in range(1, num_cycles + 1):
        predictor.end_cycle(path.facts(cycle))


def direct_solution(path: SimulatedPath, num_cycles: int, forgetting: float, ridge: float) -> np.ndarray:
    """Least squares on stacked vectors: rows of weight sqrt(forgetting^age), ridge as extra rows."""
    rows: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for cycle in range(2, num_cycles + 1):
        weight = forgetting ** ((num_cycles - cycle) / 2)
        rows.append(weight * np.stack([path.direction(name, cycle - 1) for name in NAMES], axis=1))
        targets.append(weight * path.displacements[cycle - 1])
    matrix, target = np.concatenate(rows), np.concatenate(targets)
    penalty = np.sqrt(ridge * np.mean(np.sum(matrix**2, axis=0)))
    matrix = np.concatenate([matrix, penalty * np.eye(4)])
    return np.linalg.lstsq(matrix, np.concatenate([target, np.zeros(4)]), rcond=None)[0]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), num_cycles=st.integers(5, 14))
def test_coefficients_are_least_squares_on_the_stored_vectors(seed: int, num_cycles: int) -> None:
    """Inner products suffice: same solution as the regression on explicit displacements and EMAs."""
    path = random_path(seed, num_cycles, scales=SCALES, num_past=2)
    predictor = Hindsight(HybridConfig())
    run(predictor, path, num_cycles)

    expected = direct_solution(path, num_cycles, forgetting=0.95, ridge=1e-4)
    np.testing.assert_allclose(predictor.coefficients(), expected, rtol=1e-6, atol=1e-8)


def test_a_predictable_displacement_is_predicted() -> None:
    """Displacements that turn each cycle, u, -u, u ...: the jump is the next one (ridge pulls < 1 %)."""
    moves = np.outer((-1.0) ** np.arange(12), [1.0, 2.0, -0.5])
    path = SimulatedPath(moves, SCALES, num_past=2)
    predictor = Hindsight(HybridConfig())
    run(predictor, path, 11)

    proposal = predictor.propose(path.facts(11), max_horizon=75)

    assert proposal is not None
    np.testing.assert_allclose(path.jump(proposal.coefficients, 11), moves[11], rtol=1e-2)
    assert proposal.horizon == 50


def test_other_time_scales_in_the_trajectory_do_not_disturb_it() -> None:
    """Its columns are found by their decay, wherever they stand among more."""
    own = random_path(seed=3, num_cycles=8, scales=SCALES, num_past=2)
    more = random_path(seed=3, num_cycles=8, scales=(0.95, 0.3, 0.8, 0.5), num_past=2)
    first, second = Hindsight(HybridConfig()), Hindsight(HybridConfig())
    run(first, own, 8)
    run(second, more, 8)

    np.testing.assert_allclose(second.coefficients(), first.coefficients(), rtol=1e-9)


@pytest.mark.parametrize(("cycle", "speaks"), [(4, False), (5, True)])
def test_it_speaks_once_there_are_as_many_pairs_as_coefficients(cycle: int, *, speaks: bool) -> None:
    """Four coefficients, four pairs of successive cycles: the fifth cycle."""
    path = random_path(seed=3, num_cycles=5, scales=SCALES, num_past=2)
    predictor = Hindsight(HybridConfig())
    run(predictor, path, cycle)

    assert (predictor.propose(path.facts(cycle), 75) is not None) == speaks


def test_a_cycle_longer_than_allowed_is_shortened() -> None:
    """K = 50 capped at 25: half the predicted displacement."""
    path = random_path(seed=3, num_cycles=6, scales=SCALES, num_past=2)
    predictor = Hindsight(HybridConfig())
    run(predictor, path, 6)

    whole, half = predictor.propose(path.facts(6), 50), predictor.propose(path.facts(6), 25)

    assert whole is not None
    assert half is not None
    assert half.horizon == 25
    assert half.coefficients == {name: 0.5 * value for name, value in whole.coefficients.items()}


def test_a_standing_run_has_zero_coefficients() -> None:
    """Nothing moved: zeros, no division by zero."""
    path = SimulatedPath(np.zeros((6, 3)), SCALES, num_past=2)
    predictor = Hindsight(HybridConfig())
    run(predictor, path, 6)

    assert predictor.coefficients().tolist() == [0.0] * 4
