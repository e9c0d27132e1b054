"""Jumps along orthogonal factors: which parameters have one, how far the weights go, and what it is charged as."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from references.orthogonal import factor_by_svd
from references.problems import Problem, quadratic, teacher, weights_of
from torch import Tensor, nn

from hpt import HybridTrainer, Phase
from hpt.jump.delta import WeightDelta
from hpt.jump.trajectory import Trajectory
from hpt.numerics import orthogonal
from hpt.predictors.nesterov import PRESETS
from hpt.records import JumpRecord, Record

SHAPES = {"matrix": (6, 9), "filters": (4, 2, 3, 3), "bias": (6,), "row": (1, 9), "column": (9, 1), "table": (7, 5)}
WHOLE_RUN = {"window_start_frac": 0.0, "window_end_frac": 1.0}


class Path:
    """A random walk of parameters of all shapes, four cycles long, with the average rebuilt by its definition."""

    def __init__(self, number_format: str = "same", dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = {
            name: nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for name, shape in SHAPES.items()
        }
        names = list(SHAPES)
        groups = [[self.weights[name] for name in names[:3]], [self.weights[name] for name in names[3:]]]
        self.trajectory = Trajectory(groups, 0.8, "device", number_format, as_they_are=[self.weights["table"]])
        cycles: list[dict[str, Tensor]] = []
        for number in range(4):
            before = self.copy()
            for weight in self.weights.values():
                weight.data.add_(torch.randn(weight.shape, generator=generator, dtype=dtype))
            cycles.append({name: self.weights[name].detach() - before[name] for name in SHAPES})
            self.trajectory.end_cycle(number + 1, 1, None, 1.0)
            if number < 3:
                self.trajectory.begin_cycle()
        ages = [0.8**age for age in (3, 2, 1, 0)]
        pairs = list(zip(ages, cycles, strict=True))
        weighted = {name: torch.stack([age * cycle[name] for age, cycle in pairs]) for name in SHAPES}
        self.average = {name: rows.sum(dim=0) / sum(ages) for name, rows in weighted.items()}
        self.last = cycles[-1]

    def copy(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def jump(self, pull_back: float, gain: float, *, one_by_one: bool = False) -> dict[str, Tensor]:
        """What the jump adds, parameter by parameter; `one_by_one`: on the way of copies kept elsewhere."""
        before = self.copy()
        self.trajectory._is_direct = self.trajectory._is_direct and not one_by_one
        self.trajectory.apply(WeightDelta(pull_back, gain, 0.8, orthogonal=True))
        return {name: weight.detach() - before[name] for name, weight in self.weights.items()}


def test_matrices_and_filters_move_along_their_factor_and_all_else_along_the_average() -> None:
    """-.5 d + 2 O, with the factor from a decomposition; vectors, single rows and tables of rows have none."""
    path = Path()
    moved = path.jump(0.5, 2.0)
    for name in SHAPES:
        trend = path.average[name]
        expected = -0.5 * path.last[name] + 2.0 * (factor_by_svd(trend) if name in {"matrix", "filters"} else trend)
        torch.testing.assert_close(moved[name], expected, rtol=1e-9, atol=1e-9)


def test_a_larger_side_than_the_largest_is_followed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 5 for the limit the 6 x 9 matrix moves along its average, the four filters still along their factor."""
    monkeypatch.setattr(orthogonal, "MAX_SIDE", 5)
    path = Path()
    moved = path.jump(0.0, 1.0)
    matrix, filters = path.average["matrix"], path.average["filters"]
    torch.testing.assert_close(moved["matrix"], matrix, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved["filters"], factor_by_svd(filters), rtol=1e-9, atol=1e-9)


def test_one_by_one_is_the_same_as_all_at_once() -> None:
    """The way of copies that lie elsewhere gives the same weights up to float32's rounding."""
    one, other = (Path(dtype=torch.float32).jump(0.5, 2.0, one_by_one=way) for way in (False, True))
    for name in SHAPES:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_averages_kept_in_half_the_bytes_give_nearly_the_same_jump() -> None:
    """bfloat16 rounds start and average by 2^-9, and the polynomial lifts small directions: 5 % of the jump."""
    one, other = Path(dtype=torch.float32).jump(0.5, 2.0), Path("bf16", torch.float32).jump(0.5, 2.0)
    for name in SHAPES:
        assert float((one[name] - other[name]).norm()) < 0.05 * float(one[name].norm())


class Slope(nn.Module):
    """A loss linear in the weights: every displacement is the same matrix, of widely spread singular values."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        left, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
        right, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
        self.slope = (left * torch.logspace(0, -1.2, 8)) @ right
        self.weight = nn.Parameter(torch.zeros(8, 8))

    def forward(self) -> Tensor:
        """The loss."""
        return 100.0 + (self.slope * self.weight).sum()


def slope() -> Problem:
    model = Slope()
    return Problem(model, torch.optim.SGD(model.parameters(), lr=0.01), None, lambda net, _: net(), lambda index: index)


def first_jump(problem: Problem, **predict: Any) -> tuple[JumpRecord, Tensor, float]:
    """Its record, the change of the weights it made, and the progress of the run."""
    records = list[Record]()
    trainer = problem.trainer(records, gate="always", predict=WHOLE_RUN | predict)
    while trainer.phase is not Phase.PREDICT:
        trainer.step(problem.batch(trainer.num_calls))
        assert trainer.num_calls < 200
    before, progress = weights_of(problem.model), trainer.num_updates / 200
    trainer.step(problem.batch(trainer.num_calls))
    jump = next(one for one in records if isinstance(one, JumpRecord))
    return jump, weights_of(problem.model) - before, progress


def closed_forms(progress: float) -> tuple[float, float, float]:
    """|v|, |-a v + g v| and |-a v + g O| for d = E = v, which is -10 steps x 0.01 x slope, and O the factor of v."""
    v = -0.1 * Slope().slope.double()
    (first_a, first_g), (last_a, last_g) = PRESETS["orthogonal"].start, PRESETS["orthogonal"].end
    a, g = first_a + progress * (last_a - first_a), first_g + progress * (last_g - first_g)
    return float(v.norm()), float((g - a) * v.norm()), float((-a * v + g * factor_by_svd(v)).norm())


def test_the_recorded_norm_is_that_of_the_weights_change() -> None:
    """Far inside the trust region: the closed form, which differs from that of the average, (g - a) |v|."""
    jump, moved, progress = first_jump(slope(), max_jump_ratio=10.0)
    _, along_average, along_factor = closed_forms(progress)
    assert jump.norm == pytest.approx(float(moved.norm()), rel=1e-4)
    assert jump.norm == pytest.approx(along_factor, rel=1e-4)
    assert along_factor > 1.02 * along_average


def test_the_trust_region_holds_where_only_the_factor_would_leave_it() -> None:
    """A limit between the average's jump and the factor's: the weights move by the limit, in the factor's direction."""
    free, freely_moved, progress = first_jump(slope(), max_jump_ratio=10.0)
    size, along_average, along_factor = closed_forms(progress)
    limit = 0.5 * (along_average + along_factor)
    jump, moved, _ = first_jump(slope(), max_jump_ratio=limit / size)
    assert along_average < limit < along_factor
    assert float(moved.norm()) == pytest.approx(limit, rel=1e-4)
    assert jump.norm == pytest.approx(limit, rel=1e-4)
    torch.testing.assert_close(moved / moved.norm(), freely_moved / freely_moved.norm(), rtol=0, atol=1e-4)
    assert jump.gain == pytest.approx(limit / along_factor * free.gain, rel=1e-4)
    assert jump.pull_back == pytest.approx(limit / along_factor * free.pull_back, rel=1e-4)


@pytest.mark.parametrize("max_jump_ratio", [0.3, 1.5])
def test_no_jump_of_a_run_leaves_the_trust_region(max_jump_ratio: float) -> None:
    """A two-layer net: every kept jump moves the weights by its recorded norm and no further than the limit."""
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, gate="always", predict=WHOLE_RUN | {"max_jump_ratio": max_jump_ratio})
    start, size, seen = weights_of(problem.model), 0.0, 0
    while trainer.num_updates < 150:
        before, is_jump = weights_of(problem.model), trainer.phase is Phase.PREDICT
        if is_jump:
            size = float((before - start).norm())
        trainer.step(problem.batch(trainer.num_calls))
        moved = float((weights_of(problem.model) - before).norm())
        if is_jump and moved > 0.0:
            norm = [one.norm for one in records if isinstance(one, JumpRecord)][seen]
            assert norm == pytest.approx(moved, rel=1e-3)
            assert moved <= max_jump_ratio * size * 1.001
        seen += is_jump
        if is_jump or trainer.num_updates % 10 == 0:
            start = start if trainer.phase is Phase.PREDICT else weights_of(problem.model)
    assert seen >= 5


def counters_of(problem: Problem, **settings: Any) -> dict[str, float]:
    trainer = problem.trainer(gate="always", **settings)
    problem.run(trainer, 100)
    return trainer.summary()["counters"]


def test_the_operations_of_every_jumps_factors_are_counted() -> None:
    """12 m^2 n + 6 m^3 for each matrix m x n, m <= n; they are no passes through the model."""
    problem = teacher()
    sides = [sorted(one.shape) for one in problem.model.parameters() if one.ndim == 2 and min(one.shape) > 1]
    counters = counters_of(problem)
    each = sum(12 * m * m * n + 6 * m**3 for m, n in sides)
    assert counters["factor_flops"] == counters["jumps_proposed"] * each > 0
    work = counters["backwards"] + counters["probe_forwards"] / 3
    assert counters["full_step_equivalents"] == pytest.approx(work, rel=1e-9)


@pytest.mark.parametrize("case", ["no matrix", "another preset"])
def test_a_jump_without_factors_counts_no_operations_for_them(case: str) -> None:
    """A model of one vector, and a model with matrices under `ramp`."""
    counters = counters_of(quadratic()) if case == "no matrix" else counters_of(teacher(), predict={"preset": "ramp"})
    assert counters["jumps_proposed"] > 0
    assert counters["factor_flops"] == 0
    work = counters["backwards"] + counters["probe_forwards"] / 3
    assert counters["full_step_equivalents"] == pytest.approx(work, rel=1e-9)


def cycle_of(optimizer: torch.optim.Optimizer, problem: Problem, **settings: Any) -> int:
    """Full steps in a cycle, counted: calls from the end of one cycle to the end of the next."""
    problem.optimizer, problem.scheduler = optimizer, None
    trainer: HybridTrainer = problem.trainer(full_steps=None, **settings)
    ends: list[int] = []
    while len(ends) < 2:
        before = trainer._c.outer.trajectory.num_cycles
        trainer.step(problem.batch(trainer.num_calls))
        if trainer._c.outer.trajectory.num_cycles > before:
            ends.append(trainer.num_updates)
    return ends[1] - ends[0]


@pytest.mark.parametrize(
    ("momentum", "total_steps", "expected"),
    [(0.0, 600, 10), (0.9, 600, 10), (0.99, 600, 100), (0.95, 3000, 30), (0.99, 12_000, 120), (0.0, 40_000, 200)],
)
def test_a_cycle_is_no_shorter_than_the_memory_of_sgd(momentum: float, total_steps: int, expected: int) -> None:
    """The larger of a hundredth of the run, within 10 .. 200, and 1 / (1 - momentum)."""
    problem = quadratic()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=1e-4, momentum=momentum)
    assert cycle_of(optimizer, problem, total_steps=total_steps) == expected


@pytest.mark.parametrize(("beta1", "expected"), [(0.9, 10), (0.98, 50)])
def test_the_memory_of_adam_is_that_of_its_first_average(beta1: float, expected: int) -> None:
    """beta2 does not count: it averages squares, and moves nothing."""
    problem = quadratic()
    optimizer = torch.optim.Adam(problem.model.parameters(), lr=1e-4, betas=(beta1, 0.999))
    assert cycle_of(optimizer, problem, total_steps=600) == expected


def test_the_longest_memory_of_all_groups_counts() -> None:
    """One group with momentum 0.5, one with 0.98."""
    problem = teacher()
    first, *others = problem.model.parameters()
    groups = [{"params": [first], "momentum": 0.5}, {"params": others, "momentum": 0.98}]
    assert cycle_of(torch.optim.SGD(groups, lr=1e-4), problem, total_steps=600) == 50


def test_a_cycle_that_was_asked_for_is_taken() -> None:
    """`full_steps` wins over the optimizer's memory."""
    problem = quadratic()
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), lr=1e-4, momentum=0.99)
    trainer = problem.trainer(total_steps=600, full_steps=15)
    problem.run(trainer, 60)
    assert trainer._c.outer.trajectory.num_cycles == 4
    assert math.isfinite(float(np.linalg.norm(weights_of(problem.model).numpy())))
