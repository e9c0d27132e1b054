"""The trajectory's trend, inner products and moves against formulas on explicit vectors."""

import numpy as np
import pytest
import torch
from references.problems import teacher
from torch import nn

from hpt.jump import gram
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats
from hpt.jump.trajectory import Trajectory

SCALE = 0.9


def walk(seed: int, cycles: int) -> tuple[list[nn.Parameter], Trajectory, list[np.ndarray], list[CycleStats]]:
    """A random walk of two parameters in two groups; returns displacements and statistics of every cycle."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((3, 4), (5,))]
    trajectory = Trajectory([[parameters[0]], [parameters[1]]], SCALE)
    displacements: list[np.ndarray] = []
    stats: list[CycleStats] = []
    for cycle in range(cycles):
        before = flat(parameters)
        for parameter in parameters:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator))
        displacements.append(flat(parameters) - before)
        stats.append(trajectory.end_cycle(10 * (cycle + 1), 10, None, 1.0))
        if cycle < cycles - 1:
            trajectory.begin_cycle()
    return parameters, trajectory, displacements, stats


def flat(parameters: list[nn.Parameter]) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in parameters])


def average(displacements: list[np.ndarray]) -> np.ndarray:
    """Bias-corrected EMA by its definition as a weighted mean."""
    weights = np.array([SCALE**age for age in reversed(range(len(displacements)))])
    return np.tensordot(weights / weights.sum(), np.array(displacements), axes=1)


@pytest.mark.parametrize("chunk_numbers", [1, 2**15], ids=["one by one", "joined"])
@pytest.mark.parametrize("cycles", [1, 2, 6])
def test_inner_products_equal_those_of_explicit_vectors(
    cycles: int, chunk_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gram, lagged products and norms agree with brute force, group by group."""
    monkeypatch.setitem(gram.CHUNK_NUMBERS, "cpu", chunk_numbers)
    parameters, _, ds, all_stats = walk(cycles, cycles)
    stats = all_stats[-1]
    basis = np.array([ds[-1], average(ds)])
    split = parameters[0].numel()
    for group, part in enumerate((slice(0, split), slice(split, None))):
        np.testing.assert_allclose(stats.gram[group], basis[:, part] @ basis[:, part].T, rtol=1e-4, atol=1e-5)
        earlier = average(ds[:-1])[part] if cycles > 1 else np.zeros_like(ds[0][part])
        np.testing.assert_allclose(stats.lagged[group], earlier @ ds[-1][part], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(stats.lagged_norms[group], earlier @ earlier, rtol=1e-4, atol=1e-5)
        weights = flat(parameters)[part]
        np.testing.assert_allclose(stats.weight_norms[group], np.linalg.norm(weights), rtol=1e-5)
    np.testing.assert_allclose(stats.displacement_norm, np.linalg.norm(ds[-1]), rtol=1e-5)


def test_a_move_is_pull_back_and_gain_times_their_directions() -> None:
    """One call of `apply` moves the weights by exactly -a d + g E, once, in place, and its length is foreseen."""
    parameters, trajectory, ds, stats = walk(3, 5)
    before, pointers = flat(parameters), [p.data_ptr() for p in parameters]
    delta = WeightDelta(pull_back=0.5, gain=2.0, scale=SCALE)
    trajectory.apply(delta)
    expected = -0.5 * ds[-1] + 2.0 * average(ds)
    np.testing.assert_allclose(flat(parameters) - before, expected, rtol=1e-4, atol=1e-5)
    assert [p.data_ptr() for p in parameters] == pointers
    np.testing.assert_allclose(stats[-1].delta_norm(delta), np.linalg.norm(expected), rtol=1e-4)


def test_another_trend_than_the_kept_one_is_a_mistake() -> None:
    """A delta made for a decay that this trajectory does not average with must not move anything."""
    parameters, trajectory, _, _ = walk(3, 3)
    before = flat(parameters)
    with pytest.raises(AssertionError, match=r"trend of scale 0\.5"):
        trajectory.apply(WeightDelta(0.0, 1.0, 0.5))
    np.testing.assert_array_equal(flat(parameters), before)


def test_noise_has_the_expected_norm_and_repeats() -> None:
    """Gain times the norm that is asked for, within 2 % for 40 000 numbers; the same for a seed, not for another."""
    parameter = nn.Parameter(torch.zeros(200, 200))
    trajectory = Trajectory([[parameter]], 0.8)
    parameter.data.add_(1.0)
    trajectory.end_cycle(1, 1, None, 1.0)
    moves: list[torch.Tensor] = []
    for seed in (7, 7, 8):
        before = parameter.detach().clone()
        trajectory.apply(WeightDelta(0.0, 0.5, 0.8, noise_seed=seed), noise_norm=200.0)
        moves.append(parameter.detach() - before)
    assert float(moves[0].norm()) == pytest.approx(100.0, rel=0.02)
    torch.testing.assert_close(moves[0], moves[1], rtol=1e-5, atol=1e-6)
    assert abs(float(torch.nn.functional.cosine_similarity(moves[0].ravel(), moves[2].ravel(), dim=0))) < 0.05


def test_small_displacements_of_half_precision_weights_are_not_lost() -> None:
    """The trend of bfloat16 weights is kept in float32, where a displacement of one ulp survives averaging."""
    parameter = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    trajectory = Trajectory([[parameter]], 0.8)
    stats: list[CycleStats] = []
    for _ in range(4):
        parameter.data.add_(2**-7)
        stats.append(trajectory.end_cycle(1, 1, None, 1.0))
        trajectory.begin_cycle()
    np.testing.assert_allclose(stats[-1].gram[0, 1, 1], 4 * (2**-7) ** 2, rtol=1e-5)
    assert parameter.dtype is torch.bfloat16


def test_state_round_trip_continues_identically() -> None:
    """A trajectory loaded from its state gives the same statistics as the one that went on."""
    problem = teacher()
    groups = [list(problem.model.parameters())]
    first, second = Trajectory(groups, 0.8), Trajectory(groups, 0.8)
    for parameter in problem.model.parameters():
        parameter.data.mul_(1.1)
    first.end_cycle(1, 1, None, 1.0)
    first.begin_cycle()
    second.load_state_dict(first.state_dict())
    for parameter in problem.model.parameters():
        parameter.data.mul_(0.9)
    mine, other = first.end_cycle(2, 1, None, 1.0), second.end_cycle(2, 1, None, 1.0)
    np.testing.assert_array_equal(mine.gram, other.gram)
    np.testing.assert_array_equal(mine.lagged, other.lagged)


def test_bytes_are_those_of_two_copies() -> None:
    """2 x P x 4 bytes; half of that in bf16, which also frees half of it when the format changes on the way."""
    parameters, trajectory, _, _ = walk(0, 5)
    elements = sum(p.numel() for p in parameters)
    assert trajectory.nbytes == 2 * elements * 4
    assert Trajectory([parameters], SCALE, number_format="bf16").nbytes == 2 * elements * 2
    assert trajectory.move_to(number_format="bf16") == elements * 4
    assert trajectory.nbytes == 2 * elements * 2
