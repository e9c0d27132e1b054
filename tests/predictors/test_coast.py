"""Coasting against real optimizers whose moments stand still because the gradient is constant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.trajectory_facts import random_path

from hpt.config import HybridConfig
from hpt.predictors.coast import Coast

Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]

GRADIENT = torch.tensor([[0.3, -2.0, 1e-3], [5.0, 0.7, -0.02]], dtype=torch.float64)


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros_like(GRADIENT))


def run(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, num_steps: int) -> None:
    for _ in range(num_steps):
        weight.grad = GRADIENT.clone()
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "settle"),
    [
        # A constant gradient's corrected Adam moments are g and g^2 from the first step on.
        (lambda one: torch.optim.AdamW(one, lr=0.01, weight_decay=0.0), 3),
        (lambda one: torch.optim.Adam(one, lr=0.01, betas=(0.8, 0.99), eps=1e-3), 3),
        # The momentum buffer settles geometrically; .5^60 is below double precision.
        (lambda one: torch.optim.SGD(one, lr=0.01, momentum=0.5), 60),
        (lambda one: torch.optim.SGD(one, lr=0.01, momentum=0.5, nesterov=True), 60),
        (lambda one: torch.optim.RMSprop(one, lr=0.01, alpha=0.5, momentum=0.5), 200),
    ],
    ids=["adamw", "adam", "sgd", "sgd-nesterov", "rmsprop"],
)
def test_the_direction_is_where_ten_more_steps_lead(make: Make, settle: int) -> None:
    """Moments at rest: ten real steps of the library's optimizer equal the direction."""
    weight = parameter()
    optimizer = make([weight])
    run(optimizer, weight, settle)
    before = weight.detach().clone()

    direction = Coast(HybridConfig()).own_direction(0, weight, optimizer, norm=1.0)
    run(optimizer, weight, 10)

    torch.testing.assert_close(direction, weight.detach() - before, rtol=1e-9, atol=0)


def test_adams_bias_correction_is_undone() -> None:
    """After one step m = .1 g and v = .001 g^2: the direction is still 10 lr sign(g)."""
    weight = parameter()
    optimizer = torch.optim.AdamW([weight], lr=0.01, eps=0.0, weight_decay=0.0)
    run(optimizer, weight, 1)

    direction = Coast(HybridConfig()).own_direction(0, weight, optimizer, norm=1.0)

    torch.testing.assert_close(direction, -0.1 * GRADIENT.sign(), rtol=1e-12, atol=0)


def test_each_parameter_has_its_groups_rate() -> None:
    """Ten times the learning rate in the second group: ten times the direction."""
    slow, fast = parameter(), parameter()
    optimizer = torch.optim.AdamW([{"params": [slow]}, {"params": [fast], "lr": 0.1}], lr=0.01)
    run(optimizer, slow, 1)
    fast.grad = GRADIENT.clone()
    optimizer.step()
    coast = Coast(HybridConfig())

    ratio = coast.own_direction(1, fast, optimizer, 1.0) / coast.own_direction(0, slow, optimizer, 1.0)

    torch.testing.assert_close(ratio, torch.full_like(ratio, 10.0), rtol=1e-9, atol=0)


def test_reading_the_state_changes_nothing() -> None:
    """Moments and weights are bitwise what they were."""
    weight = parameter()
    optimizer = torch.optim.AdamW([weight], lr=0.01)
    run(optimizer, weight, 3)
    before = [weight.detach().clone(), *(value.clone() for value in optimizer.state[weight].values())]

    Coast(HybridConfig()).own_direction(0, weight, optimizer, norm=1.0)

    for old, now in zip(before, [weight.detach(), *optimizer.state[weight].values()], strict=True):
        assert torch.equal(old, now)


class SignDescent(torch.optim.Optimizer):
    """Lion-like: keeps a first moment but no second."""

    def __init__(self, params: list[torch.nn.Parameter]) -> None:
        super().__init__(params, {"lr": 0.01, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for one in group["params"]:
                moment = self.state[one].setdefault("exp_avg", torch.zeros_like(one))
                moment.lerp_(one.grad, 0.1)
                one.sub_(group["lr"] * moment.sign())


@pytest.mark.parametrize("make", [SignDescent, lambda one: torch.optim.SGD(one, lr=0.1)], ids=["lion", "plain-sgd"])
def test_an_unreadable_optimizer_gets_zeros_and_no_second_proposal(make: Make) -> None:
    """No second moment, or no momentum at all: a zero direction once, then silence."""
    weight, path = parameter(), random_path(0, 5)
    optimizer = make([weight])
    run(optimizer, weight, 3)
    coast = Coast(HybridConfig())

    assert coast.propose(path.facts(3), 75) is not None
    assert torch.equal(coast.own_direction(0, weight, optimizer, 1.0), torch.zeros_like(GRADIENT))
    assert coast.propose(path.facts(4), 75) is None
    assert coast.summary() == {"found_optimizer_state": False}

    continued = Coast(HybridConfig())
    continued.load_state_dict(coast.state_dict())
    assert continued.propose(path.facts(5), 75) is None


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muons_buffer_is_not_mistaken_for_its_update() -> None:
    """Muon orthogonalises its momentum buffer before use, so the raw buffer is no direction."""
    weight = parameter()
    optimizer = torch.optim.Muon([weight], lr=0.01)
    run(optimizer, weight, 2)

    assert "momentum_buffer" in optimizer.state[weight]
    assert not Coast(HybridConfig()).own_direction(0, weight, optimizer, 1.0).any()


def test_the_horizon_is_the_number_of_steps() -> None:
    """Ten steps; capped at four it goes .4 of the way."""
    coast, path = Coast(HybridConfig()), random_path(0, 3)

    free, capped = coast.propose(path.facts(3), 75), coast.propose(path.facts(3), 4)

    assert free is not None
    assert capped is not None
    assert (free.horizon, free.coefficients) == (10, {"own": 1.0})
    assert (capped.horizon, capped.coefficients) == (4, {"own": 0.4})


def test_a_parameter_without_a_gradient_does_not_silence_the_rest() -> None:
    """One unused parameter has no state: zeros for it, proposals go on."""
    used, unused, path = parameter(), parameter(), random_path(0, 3)
    optimizer = torch.optim.AdamW([used, unused], lr=0.01)
    run(optimizer, used, 2)
    coast = Coast(HybridConfig())

    assert coast.own_direction(0, used, optimizer, 1.0).any()
    assert not coast.own_direction(1, unused, optimizer, 1.0).any()
    assert coast.propose(path.facts(3), 75) is not None
