"""Reduced rank extrapolation against the exact fixed point and against a direct constrained solve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.extrapolation import reduced_rank_limit
from references.trajectory_facts import SimulatedPath, random_path

from hpt.config import HybridConfig
from hpt.learned.facts import JumpOutcome
from hpt.predictors.rre import ReducedRank, limit_weights


def affine_iteration(seed: int, modes: int, num_states: int) -> tuple[np.ndarray, np.ndarray]:
    """States of x <- A x + b in 8 dimensions, its error in `modes` separated modes, and the fixed point."""
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(generator.standard_normal((8, 8)))
    rates = np.linspace(0.9, 0.2, modes)
    limit = generator.standard_normal(8)
    errors = np.array([rotation[:, :modes] @ (rates**n) for n in range(num_states)])
    return limit + errors, limit


def undamped(order: int, ridge: float) -> ReducedRank:
    return ReducedRank(HybridConfig(), order, ridge, damping=1.0, cap=1e9)


def run(predictor: ReducedRank, path: SimulatedPath, cycles: range) -> None:
    for cycle in cycles:
        predictor.end_cycle(path.facts(cycle))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), modes=st.integers(1, 3))
def test_it_finds_the_fixed_point_of_an_affine_iteration(seed: int, modes: int) -> None:
    """With q = number of modes, the last state plus the jump is the fixed point itself."""
    states, limit = affine_iteration(seed, modes, num_states=modes + 2)
    path = SimulatedPath(np.diff(states, axis=0), num_past=modes + 1)
    predictor = undamped(modes, ridge=1e-14)
    run(predictor, path, range(1, modes + 2))

    proposal = predictor.propose(path.facts(modes + 1), max_horizon=10**9)

    assert proposal is not None
    landed = states[-1] + path.jump(proposal.coefficients, modes + 1)
    np.testing.assert_allclose(landed, limit, atol=1e-5)
    assert np.linalg.norm(states[-1] - limit) > 0.1  # there was a way to go


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), order=st.integers(1, 5))
def test_it_equals_the_direct_solve_on_noise(seed: int, order: int) -> None:
    """From inner products alone, the same limit as least squares with the constraint eliminated."""
    path = random_path(seed, num_cycles=order + 1, num_past=order + 1)
    states = np.concatenate([np.zeros((1, 12)), np.cumsum(path.displacements, axis=0)])
    predictor = undamped(order, ridge=0.0)
    run(predictor, path, range(1, order + 2))

    proposal = predictor.propose(path.facts(order + 1), max_horizon=10**9)

    assert proposal is not None
    landed = states[-1] + path.jump(proposal.coefficients, order + 1)
    np.testing.assert_allclose(landed, reduced_rank_limit(states), rtol=1e-6, atol=1e-6)


def test_a_large_ridge_is_the_mean_of_the_states() -> None:
    """Ridge to infinity makes gamma uniform: with three displacements the factors are 0, -1/3, -2/3."""
    gram = np.diag([1.0, 2.0, 3.0])

    np.testing.assert_allclose(limit_weights(gram, ridge=1e12), [0.0, -1 / 3, -2 / 3], atol=1e-9)


def test_the_jump_is_damped_and_never_longer_than_the_cap() -> None:
    """Half damping halves the jump; a cap of .5 leaves half the last displacement, in the same direction."""
    path = random_path(seed=2, num_cycles=4, num_past=4)
    jumps: list[np.ndarray] = []
    for damping, cap in [(1.0, 1e9), (0.5, 1e9), (1.0, 0.05)]:
        predictor = ReducedRank(HybridConfig(), order=3, damping=damping, cap=cap)
        run(predictor, path, range(1, 5))
        proposal = predictor.propose(path.facts(4), max_horizon=10**9)
        assert proposal is not None
        jumps.append(path.jump(proposal.coefficients, 4))
    whole, damped, capped = jumps

    np.testing.assert_allclose(damped, 0.5 * whole, rtol=1e-9)
    last = np.linalg.norm(path.displacements[3])
    assert np.linalg.norm(whole) > 0.05 * last
    np.testing.assert_allclose(np.linalg.norm(capped), 0.05 * last, rtol=1e-9)
    np.testing.assert_allclose(capped / np.linalg.norm(capped), whole / np.linalg.norm(whole), rtol=1e-9)


def test_a_kept_jump_starts_a_new_stretch() -> None:
    """After a jump at step 200 (end of cycle 4, K = 50) nothing is proposed until four more cycles."""
    path = random_path(seed=2, num_cycles=9, num_past=4)
    predictor = ReducedRank(HybridConfig(), order=3)
    spoke: list[int] = []
    for cycle in range(1, 10):
        predictor.end_cycle(path.facts(cycle))
        if predictor.propose(path.facts(cycle), 75) is not None:
            spoke.append(cycle)
        predictor.judge(outcome(step=cycle * 50, kept=cycle == 4))

    assert spoke == [4, 8, 9]


def outcome(step: int, *, kept: bool) -> JumpOutcome:
    return JumpOutcome(step, "rre", kept, rolled_back=False, norm_ratio=0.5, gain=0.0, loss_change=None, good=kept)


@pytest.mark.parametrize(
    "moves",
    [np.zeros((3, 4)), np.full((3, 4), np.nan), np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]])],
    ids=["standing", "nan", "stopped"],
)
def test_no_movement_and_no_numbers_mean_no_jump(moves: np.ndarray) -> None:
    """A standing, stopped or non-finite past gives None instead of an error or a NaN."""
    path = SimulatedPath(moves, num_past=3)
    predictor = ReducedRank(HybridConfig(), order=2)
    run(predictor, path, range(1, 4))

    assert predictor.propose(path.facts(3), 75) is None
