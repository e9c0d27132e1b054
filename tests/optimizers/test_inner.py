"""One optimizer or a list of them as one object: what it holds, what it stores, what it refuses."""

import copy
from typing import Any

import pytest
import torch
from pytorch_optimizer import SOAP, Lion
from references.same import assert_same
from torch import nn
from torch.optim import SGD, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import StepLR

from hpt.errors import ModelError
from hpt.optimizers.inner import InnerOptimizer


def small_model(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.default_generator.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)).to(dtype)


def pair(model: nn.Module) -> list[Optimizer]:
    matrices = [one for one in model.parameters() if one.ndim == 2]
    return [Muon(matrices, lr=0.01), AdamW([one for one in model.parameters() if one.ndim == 1], lr=0.02)]


def update(model: nn.Module, optimizers: list[Optimizer], count: int = 1) -> None:
    for index in range(count):
        generator = torch.Generator().manual_seed(index)
        for one in optimizers:
            one.zero_grad()
        weights = next(model.parameters())
        model(torch.randn(8, 4, generator=generator).to(weights.dtype)).float().square().mean().backward()
        for one in optimizers:
            one.step()


def test_groups_are_those_of_all_in_order_as_they_are_now() -> None:
    """A group added to the first one later stands before those of the second."""
    model = small_model()
    muon, adamw = pair(model)
    inner, late = InnerOptimizer([muon, adamw]), nn.Parameter(torch.zeros(3, 3))
    muon.add_param_group({"params": [late]})
    assert [id(one) for one in inner.param_groups] == [id(one) for one in (*muon.param_groups, *adamw.param_groups)]
    assert [tuple(one.shape) for one in inner.parameters] == [(5, 4), (2, 5), (3, 3), (5,), (2,)]


def test_gradients_of_all_are_forgotten() -> None:
    model = small_model()
    inner = InnerOptimizer(pair(model))
    model(torch.ones(1, 4)).sum().backward()
    inner.zero_grad()
    assert all(one.grad is None for one in model.parameters())


class Keeping(SGD):
    """Sets gradients to zero, and counts how often."""

    num_calls = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.num_calls += 1
        super().zero_grad(set_to_none=False)


def test_gradients_are_forgotten_as_an_optimizer_of_its_own_kind_does_it() -> None:
    """One whose class, or which itself, has another zero_grad is asked; the gradients are zeros then, not gone."""
    model = small_model()
    by_class, by_hand = Keeping(model[0].parameters(), lr=0.1), SGD(model[1].parameters(), lr=0.1)
    called: list[bool] = []

    def keep(set_to_none: bool = True) -> None:
        called.append(set_to_none)

    by_hand.zero_grad = keep
    model(torch.ones(1, 4)).sum().backward()
    InnerOptimizer([by_class, by_hand]).zero_grad()
    assert (by_class.num_calls, called) == (1, [True])
    assert all(one.grad is not None and not one.grad.any() for one in model[0].parameters())
    assert all(one.grad is not None for one in model[1].parameters())


def test_a_single_one_stores_what_it_stores_itself() -> None:
    """Its own dictionary, whether it was given alone or in a list; two give a list of theirs."""
    model = small_model()
    adamw = AdamW(model.parameters())
    update(model, [adamw])
    assert_same(InnerOptimizer(adamw).state_dict(), adamw.state_dict())
    assert_same(InnerOptimizer([adamw]).state_dict(), adamw.state_dict())
    both = pair(model)
    assert_same(InnerOptimizer(both).state_dict(), [one.state_dict() for one in both])


def of_both(model: nn.Module) -> list[Optimizer]:
    return pair(model)


def of_soap(model: nn.Module) -> list[Optimizer]:
    return [SOAP(model.parameters(), lr=0.01, precondition_frequency=2)]


def of_lion(model: nn.Module) -> list[Optimizer]:
    return [Lion(model.parameters(), lr=0.01)]


def in_full_precision(model: nn.Module) -> list[Optimizer]:
    """Moments wider than their weights, which torch's own loading would narrow."""
    first, second = AdamW(list(model.parameters())[:2]), AdamW(list(model.parameters())[2:])
    for one in (first, second):
        one.register_step_post_hook(widen)
    return [first, second]


def widen(optimizer: Optimizer, *_: Any) -> None:
    for entry in optimizer.state.values():
        entry["noted"] = [entry["exp_avg"].double() / 3.0, None, (entry["step"].double() / 7.0,)]


@pytest.mark.parametrize("make", [of_both, of_soap, of_lion, in_full_precision])
def test_a_loaded_state_is_the_stored_one_to_the_bit(make: Any) -> None:
    """Types, nested lists with None in them, counters of groups; in a new object and over another state."""
    dtype = torch.bfloat16 if make is in_full_precision else torch.float32
    model, other = small_model(dtype), small_model(dtype)
    optimizers, others = make(model), make(other)
    update(model, optimizers, 5)
    stored = copy.deepcopy(InnerOptimizer(optimizers).state_dict())
    for updates in (0, 3):
        update(other, others, updates)
        InnerOptimizer(others).load_state_dict(copy.deepcopy(stored))
        assert_same(InnerOptimizer(others).state_dict(), stored)


def test_a_state_of_another_number_of_optimizers_is_refused() -> None:
    model = small_model()
    with pytest.raises(ValueError, match="of 1 optimizers, 2 are here"):
        InnerOptimizer(pair(model)).load_state_dict(AdamW(model.parameters()).state_dict())


class Wrapping:
    """No optimizer by its type, as those of packages that wrap torch's."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.param_groups = inner, inner.param_groups

    def step(self) -> None:
        self.inner.step()


def test_what_behaves_as_an_optimizer_is_one() -> None:
    adamw = AdamW(small_model().parameters())
    wrapped: Any = Wrapping(adamw)
    assert InnerOptimizer([wrapped]).param_groups is adamw.param_groups


def held_twice(model: nn.Sequential) -> list[Any]:
    return [Muon([model[0].weight]), SGD(model.parameters())]  # pyright: ignore[reportArgumentType]


def wrapped_beside_its_own(model: nn.Sequential) -> list[Any]:
    adamw = AdamW(model.parameters())
    return [Wrapping(adamw), adamw]


def twice(model: nn.Sequential) -> list[Any]:
    return [AdamW(model.parameters())] * 2


def with_a_schedule(model: nn.Sequential) -> list[Any]:
    adamw = AdamW(model.parameters())
    return [adamw, StepLR(adamw, 1)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda _: [], "optimizer is an empty list, it must be"),
        (with_a_schedule, "optimizer 1 of the list is a StepLR, it must be"),
        (lambda model: model.parameters(), "optimizer is a generator, it must be"),
        (lambda _: None, "optimizer is a NoneType, it must be"),
        (twice, "optimizer 1 of the list, AdamW, is there twice"),
        (held_twice, r"parameter 0.weight is held by optimizers 0 \(Muon\) and 1 \(SGD\)"),
        (wrapped_beside_its_own, r"parameter 0.weight is held by optimizers 0 \(Wrapping\) and 1 \(AdamW\)"),
    ],
)
def test_nonsense_is_refused_in_one_line(given: Any, message: str) -> None:
    model = small_model()
    with pytest.raises(ModelError, match=message) as caught:
        InnerOptimizer(given(model), model)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


def test_a_parameter_that_no_model_has_is_named_by_its_place() -> None:
    one = nn.Parameter(torch.zeros(2))
    with pytest.raises(ModelError, match="parameter 0 of SGD is held"):
        InnerOptimizer([SGD([one]), SGD([one])], small_model())
