"""What an optimizer's momentum remembers, in updates: closed forms, and the libraries' own decay."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_optimizer import SOAP, AdEMAMix, Lion
from torch import nn
from torch.optim import SGD, Adagrad, AdamW, Muon, Optimizer

from hpt.config import HybridConfig
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.memory import memory_steps
from hpt.trainer.engine import with_cycle


def weight() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3, 3))]


class PagedLion8bit(SGD):
    """Named as one of bitsandbytes'."""


def betas_of(kind: Any, *betas: float) -> Optimizer:
    optimizer = kind(weight(), lr=0.1)
    optimizer.param_groups[0]["betas"] = betas
    return optimizer


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: AdamW(weight(), betas=(0.95, 0.999)), 20.0),
        (lambda: SGD(weight(), momentum=0.99), 100.0),
        (lambda: SGD(weight()), 1.0),
        (lambda: Adagrad(weight()), 1.0),
        (lambda: Muon(weight(), momentum=0.9), 10.0),
        (lambda: SOAP(weight(), betas=(0.95, 0.99)), 20.0),
        (lambda: Lion(weight(), betas=(0.9, 0.99)), 100.0),
        (lambda: betas_of(PagedLion8bit, 0.9, 0.98), 50.0),
        (lambda: AdEMAMix(weight(), betas=(0.9, 0.999, 0.9999)), 10.0),
        (lambda: betas_of(SGD, 1.0, 0.9), 1.0),
        (lambda: SGD([{"params": weight()}, {"params": weight(), "momentum": 0.95}], momentum=0.8), 20.0),
    ],
)
def test_one_over_one_minus_the_decay_of_the_momentum(make: Callable[[], Optimizer], steps: float) -> None:
    """The longest of the groups; 1 without momentum, or with a decay that averages nothing."""
    assert memory_steps(make()) == pytest.approx(steps)


@pytest.mark.parametrize("momentum", [None, True, "0.9x"])
def test_a_momentum_that_is_no_decay_is_none(momentum: Any) -> None:
    optimizer = SGD(weight(), lr=0.1)
    optimizer.param_groups[0]["momentum"] = momentum
    assert memory_steps(optimizer) == 1.0


def test_the_momentum_of_lion_decays_by_its_second_beta() -> None:
    """What the library keeps after a gradient and then none is beta2 times what it kept before, not beta1."""
    (parameter,) = parameters = weight()
    optimizer = Lion(parameters, lr=0.1, betas=(0.5, 0.75), weight_decay=0.0)
    kept: list[float] = []
    for gradient in (1.0, 0.0):
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        kept.append(float(optimizer.state[parameter]["exp_avg"].mean()))
    assert kept[1] / kept[0] == pytest.approx(0.75)


@pytest.mark.parametrize(("total", "told", "expected"), [(1000, None, 20), (5000, None, 50), (1000, 12, 12)])
def test_a_cycle_is_no_shorter_than_the_memory_of_any(total: int, told: int | None, expected: int) -> None:
    """K is a hundredth of the run, or the longest memory of the list; one that was told stays."""
    inner = InnerOptimizer([SGD(weight(), momentum=0.8), Muon(weight(), momentum=0.95)])
    assert with_cycle(HybridConfig(total_steps=total, full_steps=told), inner).cycle_steps == expected
