"""The trajectory's averages, inner products and jumps against formulas on explicit vectors."""

import numpy as np
import pytest
import torch
from references.problems import teacher
from torch import nn

from hpt.learned.facts import CycleFacts
from hpt.trainer import inner_products
from hpt.trainer.trajectory import Trajectory


def walk(seed: int, cycles: int) -> tuple[list[nn.Parameter], Trajectory, list[np.ndarray], list[CycleFacts]]:
    """A random walk of two parameters in two groups; returns displacements and facts of every cycle."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((3, 4), (5,))]
    trajectory = Trajectory([[parameters[0]], [parameters[1]]], (0.5, 0.9), num_past=3)
    displacements: list[np.ndarray] = []
    facts: list[CycleFacts] = []
    for cycle in range(cycles):
        before = flat(parameters)
        for parameter in parameters:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator))
        displacements.append(flat(parameters) - before)
        facts.append(trajectory.end_cycle(10 * (cycle + 1), 10, None, 1.0))
        if cycle < cycles - 1:
            trajectory.begin_cycle()
    return parameters, trajectory, displacements, facts


def flat(parameters: list[nn.Parameter]) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in parameters])


def average(displacements: list[np.ndarray], mu: float) -> np.ndarray:
    """Bias-corrected EMA by its definition as a weighted mean."""
    weights = np.array([mu**age for age in reversed(range(len(displacements)))])
    return np.tensordot(weights / weights.sum(), np.array(displacements), axes=1)


@pytest.mark.parametrize("chunk_numbers", [1, 2**15], ids=["one by one", "joined"])
@pytest.mark.parametrize("cycles", [1, 2, 6])
def test_inner_products_equal_those_of_explicit_vectors(
    cycles: int, chunk_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gram, lagged products, norms and the kept displacements' Gram agree with brute force, group by group."""
    monkeypatch.setattr(inner_products, "CHUNK_NUMBERS", chunk_numbers)
    parameters, _, ds, all_facts = walk(cycles, cycles)
    facts = all_facts[-1]
    basis = np.array([ds[-1], average(ds, 0.5), average(ds, 0.9)])
    split = parameters[0].numel()
    for group, part in enumerate((slice(0, split), slice(split, None))):
        np.testing.assert_allclose(facts.gram[group], basis[:, part] @ basis[:, part].T, rtol=1e-4, atol=1e-5)
        earlier = [average(ds[:-1], mu)[part] if cycles > 1 else np.zeros_like(ds[0][part]) for mu in (0.5, 0.9)]
        np.testing.assert_allclose(facts.lagged[group], [e @ ds[-1][part] for e in earlier], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(facts.lagged_norms[group], [e @ e for e in earlier], rtol=1e-4, atol=1e-5)
    newest_first = np.array(ds[::-1][:3])
    assert facts.past_gram is not None
    np.testing.assert_allclose(facts.past_gram, newest_first @ newest_first.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(facts.displacement_norm, np.linalg.norm(ds[-1]), rtol=1e-5)


def test_jump_is_the_sum_of_coefficient_times_direction() -> None:
    """One call of `apply` moves the weights by exactly the weighted directions, once, and nothing else moves."""
    parameters, trajectory, ds, facts = walk(3, 5)
    before, pointers = flat(parameters), [p.data_ptr() for p in parameters]
    coefficients = {"d": -0.5, "E0.9": 2.0, "d1": 0.25}
    trajectory.apply(coefficients)
    expected = -0.5 * ds[-1] + 2.0 * average(ds, 0.9) + 0.25 * ds[-2]
    np.testing.assert_allclose(flat(parameters) - before, expected, rtol=1e-4, atol=1e-5)
    assert [p.data_ptr() for p in parameters] == pointers
    norm = trajectory.norm_of({"d": -0.5, "E0.9": 2.0}, facts[-1], None)
    np.testing.assert_allclose(norm, np.linalg.norm(-0.5 * ds[-1] + 2.0 * average(ds, 0.9)), rtol=1e-4)


def test_group_factors_scale_each_group_alone() -> None:
    """A factor of zero leaves its group where it is, bit for bit."""
    parameters, trajectory, ds, _ = walk(4, 3)
    kept, before = parameters[1].detach().clone(), flat(parameters)
    trajectory.apply({"d": 1.0}, group_factors=(2.0, 0.0))
    assert torch.equal(parameters[1], kept)
    split = parameters[0].numel()
    np.testing.assert_allclose((flat(parameters) - before)[:split], 2.0 * ds[-1][:split], rtol=1e-4, atol=1e-5)


def test_small_displacements_of_half_precision_weights_are_not_lost() -> None:
    """The averages of bfloat16 weights are kept in float32, where a displacement of one ulp survives averaging."""
    parameter = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    trajectory = Trajectory([[parameter]], (0.8,))
    facts: list[CycleFacts] = []
    for _ in range(4):
        parameter.data.add_(2**-7)
        facts.append(trajectory.end_cycle(1, 1, None, 1.0))
        trajectory.begin_cycle()
    np.testing.assert_allclose(facts[-1].gram[0, 1, 1], 4 * (2**-7) ** 2, rtol=1e-5)
    assert parameter.dtype is torch.bfloat16


def test_state_round_trip_continues_identically() -> None:
    """A trajectory loaded from its state gives the same facts as the one that went on."""
    problem = teacher()
    groups = [list(problem.model.parameters())]
    first, second = Trajectory(groups, (0.8, 0.95)), Trajectory(groups, (0.8, 0.95))
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


def test_bytes_are_those_of_the_copies() -> None:
    """(1 + scales + kept displacements) x P x 4 bytes; half of the averages' bytes with bf16."""
    parameters, trajectory, _, _ = walk(0, 5)
    elements = sum(p.numel() for p in parameters)
    assert trajectory.nbytes == (1 + 2 + 3) * elements * 4
    half = Trajectory([parameters], (0.5, 0.9), placement="bf16")
    assert half.nbytes == 3 * elements * 2
