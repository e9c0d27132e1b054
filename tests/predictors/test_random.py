"""The random control: right length, no preferred direction, and the same whoever asks and when."""

import math

import pytest
import torch
from references.trajectory_facts import random_path

from hpt.config import HybridConfig
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.random import Random

SHAPES = [(40, 50), (7,), (3, 4, 5)]
PARAMETERS = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
TOTAL = sum(one.numel() for one in PARAMETERS)
OPTIMIZER = torch.optim.SGD(PARAMETERS, lr=0.1)


def at_cycle(cycle: int, seed: int = 0) -> Random:
    predictor = Random(HybridConfig(seed=seed), TOTAL)
    predictor.propose(random_path(0, 9).facts(cycle, progress=0.5), 75)
    return predictor


def direction(predictor: Random, index: int, norm: float = 2.0) -> torch.Tensor:
    return predictor.own_direction(index, PARAMETERS[index], OPTIMIZER, norm)


def test_the_length_is_two_thirds_of_the_displacement_in_expectation() -> None:
    """Mean of |jump|^2 over 300 cycles is (.67 |d|)^2; its standard error is sqrt(2 / P / 300) = .18 %."""
    predictor = Random(HybridConfig(), TOTAL)
    squares: list[float] = []
    for cycle in range(300):
        predictor.load_state_dict({"cycle": cycle})
        squares.append(sum(float(direction(predictor, i).square().sum()) for i in range(3)))

    assert math.fsum(squares) / 300 == pytest.approx((0.67 * 2.0) ** 2, rel=4 * 0.0018)


def test_entries_are_standard_normal_after_scaling() -> None:
    """2000 entries: mean within 4 standard errors of 0, share beyond two sigmas near 4.55 %."""
    scaled = direction(at_cycle(5), 0, norm=2.0) * TOTAL**0.5 / (0.67 * 2.0)

    assert abs(float(scaled.mean())) < 4 / 2000**0.5
    assert float((scaled.abs() > 2).float().mean()) == pytest.approx(0.0455, abs=4 * (0.0455 / 2000) ** 0.5)


def test_the_order_of_asking_does_not_matter() -> None:
    """Forwards, backwards and twice: bitwise the same three directions."""
    first = [direction(at_cycle(5), index) for index in (0, 1, 2)]
    predictor = at_cycle(5)
    second = [direction(predictor, index) for index in (2, 2, 1, 0)][:0:-1]

    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_seed_cycle_and_index_each_change_the_direction() -> None:
    """Two parameters of one shape, two cycles, two seeds: nearly orthogonal to each other (P = 2000)."""
    twin = torch.nn.Parameter(torch.zeros(SHAPES[0]))
    base = direction(at_cycle(5), 0)
    others = [
        at_cycle(5).own_direction(1, twin, OPTIMIZER, 2.0),
        direction(at_cycle(6), 0),
        direction(at_cycle(5, seed=1), 0),
    ]

    for other in others:
        cosine = torch.nn.functional.cosine_similarity(base.flatten(), other.flatten(), dim=0)
        assert abs(float(cosine)) < 5 / 2000**0.5


def test_a_checkpoint_keeps_the_direction() -> None:
    """A new predictor with the stored state gives bitwise the same direction."""
    predictor = at_cycle(7)
    continued = Random(HybridConfig(), TOTAL)
    continued.load_state_dict(predictor.state_dict())

    assert torch.equal(direction(continued, 0), direction(predictor, 0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_has_the_parameters_shape_and_format(dtype: torch.dtype) -> None:
    """The same numbers in the parameter's own format, up to that format's rounding."""
    parameter = torch.nn.Parameter(torch.zeros(SHAPES[0], dtype=dtype))

    made = at_cycle(5).own_direction(0, parameter, OPTIMIZER, 2.0)

    assert made.dtype == dtype
    torch.testing.assert_close(made, direction(at_cycle(5), 0).to(dtype), rtol=0, atol=0)


def test_it_speaks_when_the_default_preset_does_and_for_as_long() -> None:
    """Same cycles and horizon as the preset it is the control of; the whole jump is its own direction."""
    path = random_path(0, 5, scales=(0.8,))
    config = HybridConfig()
    for cycle in range(1, 6):
        facts = path.facts(cycle, progress=0.4)
        mine, base = Random(config, TOTAL).propose(facts, 75), Nesterov(config).propose(facts, 75)
        assert (mine is None) == (base is None)
        if mine is not None and base is not None:
            assert mine.horizon == base.horizon
            assert mine.coefficients == {"own": 1.0}
