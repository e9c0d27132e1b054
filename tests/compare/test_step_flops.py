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
    """Except in the first layer, where nobody asks for the inputs' gradient: four; activations are under 2 %."""
    workload = TeacherMLP(seed=0, device=CPU)
    model = workload.build_model()
    first, *others = [one.numel() for one in model.parameters() if one.ndim == 2]
    samples = len(workload.batch(0)[0])
    products = samples * (4 * first + 6 * sum(others))
    assert products < step_flops(workload, model, workload.batch(0)) < 1.02 * products


def test_operations_that_torch_does_not_count_are_six_a_weight_at_the_least() -> None:
    """A model that only picks rows out of a large table of weights."""

    class Picking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(10_000, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight[: len(x)]

    workload = Regression(seed=0, device=CPU)
    assert step_flops(workload, Picking(), workload.batch(0)) == 6 * 10_000


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
    recipe = Recipe(config={"warmup_steps": 40, "full_steps": 15, "gate": "always"})
    found = train_cell(Cell(workload="mlp", arm="test", seed=1, steps=120, recipe=recipe))
    count = found.counters
    assert count["factor_flops"] > count["jumps_proposed"] * count["step_flops"] > 0
    others = count["factor_flops"] + count["optimizer_updates"] * count["update_flops"]
    work = count["backwards"] + count["probe_forwards"] / 3 + others / count["step_flops"]
    assert found.full_step_equivalents == pytest.approx(work, rel=1e-12)
    assert found.curve[-1][0] == pytest.approx(work, rel=1e-12)


def test_a_cell_is_charged_for_what_its_optimizer_does() -> None:
    """Muon's five rounds of 4 m^2 n + 2 m^3 on each hidden matrix of `mlp`, and element-wise work of both optimizers.

    Of 96 x 32 and twice 96 x 96 (m is the shorter side), that is several times forward and backward.
    """
    recipe = Recipe(optimizer="muon")
    found = train_cell(Cell(workload="mlp", arm="test", seed=1, steps=12, recipe=recipe)).counters
    products = 5 * sum(4 * m * m * n + 2 * m**3 for m, n in ((32, 96), (96, 96), (96, 96)))
    assert products < found["update_flops"] < 1.1 * products
    assert found["full_step_equivalents"] == pytest.approx(12 * (1 + found["update_flops"] / found["step_flops"]))
    assert found["update_flops"] > 5 * found["step_flops"]


def test_work_that_an_optimizer_hides_outside_step_is_seen_in_seconds() -> None:
    """Ten thousand products in a gradient's hook: the count is AdamW's, the processor's seconds are many times its."""
    honest, hiding = (
        train_cell(Cell(workload="regression", arm="test", seed=1, steps=6, recipe=Recipe(optimizer=name)))
        for name in ("adamw", "references.hiding_optimizer:factory")
    )
    assert hiding.counters["update_flops"] == honest.counters["update_flops"]
    assert hiding.full_step_equivalents == pytest.approx(honest.full_step_equivalents)
    assert hiding.cpu_s > 10 * honest.cpu_s
