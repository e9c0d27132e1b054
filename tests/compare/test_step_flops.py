"""What a full step is counted as, and what a jump's factors are charged against it."""

import pytest
import torch
from torch import nn

from hpt.compare.cells import Cell, Recipe
from hpt.compare.training import step_flops, train_cell
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.regression import Regression

CPU = torch.device("cpu")


def test_a_multilayer_perceptron_takes_six_operations_a_weight_and_sample() -> None:
    """Except in the first layer, where nobody asks for the inputs' gradient: four."""
    workload = TeacherMLP(seed=0, device=CPU)
    model = workload.build_model()
    first, *others = [one.numel() for one in model.parameters() if one.ndim == 2]
    samples = len(workload.batch(0)[0])
    assert step_flops(workload, model, workload.batch(0)) == samples * (4 * first + 6 * sum(others))


def test_operations_that_torch_does_not_count_are_six_a_weight_at_the_least() -> None:
    """A model that multiplies number by number."""

    class ByNumber(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * self.weight.sum()).mean(dim=1, keepdim=True)

    workload = Regression(seed=0, device=CPU)
    inputs, targets = workload.batch(0)
    assert step_flops(workload, ByNumber(), (inputs, targets)) == 6 * 7


def test_counting_leaves_weights_and_generator_alone() -> None:
    """So that a cell can count whenever it likes."""
    workload = TeacherMLP(seed=0, device=CPU)
    model = workload.build_model()
    weights = [one.detach().clone() for one in model.parameters()]
    generator = torch.random.get_rng_state()
    step_flops(workload, model, workload.batch(0))
    assert all(torch.equal(one, before) for one, before in zip(model.parameters(), weights, strict=True))
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_a_cell_is_charged_for_the_factors_of_its_jumps() -> None:
    """On the small batches of `mlp` a jump's factors take more operations than a full step."""
    recipe = Recipe(config={"full_steps": 15, "gate": "always"})
    found = train_cell(Cell(workload="mlp", arm="test", seed=1, steps=320, recipe=recipe))
    count = found.counters
    assert count["factor_flops"] > count["jumps_proposed"] * count["step_flops"] > 0
    work = count["backwards"] + count["probe_forwards"] / 3 + count["factor_flops"] / count["step_flops"]
    assert found.full_step_equivalents == pytest.approx(work, rel=1e-12)
    assert found.curve[-1][0] == pytest.approx(work, rel=1e-12)
