"""Operations of an update, against closed forms by hand; and nothing is left behind by counting them."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_optimizer import SOAP, Lookahead
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer

from hpt.errors import HptError, UsageError
from hpt.optimizers.build import build_optimizers
from hpt.optimizers.catalogue import CATALOGUE
from hpt.optimizers.operations import update_flops


def weights(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    """With gradients."""
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for one in made:
        one.grad = torch.randn(one.shape, generator=generator)
    return made


def test_muon_takes_five_rounds_of_three_products() -> None:
    """With m <= n: 4 m^2 n + 2 m^3 a round; 12 operations a weight, by hand, and a norm that is kept from zero."""
    shapes = [(24, 40), (32, 16)]
    rounds = sum(5 * (4 * min(s) ** 2 * max(s) + 2 * min(s) ** 3) for s in shapes)
    # momentum 3, Nesterov's 3, norm 2, division by it 1, decay 1, update 2
    expected = rounds + sum(12 * m * n + 1 for m, n in shapes)
    assert update_flops(Muon(weights(*shapes))) == expected


@pytest.mark.parametrize(
    ("make", "each", "counters"),
    [
        (lambda p: SGD(p, lr=0.1), 2, 0),
        # decay 2, momentum 2, Nesterov's 2, update 2
        (lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1), 8, 0),
        # decay 1, first moment 3, second 1 + 3, root 1, correction 1, epsilon 1, update 3; and each tensor counts steps
        (lambda p: AdamW(p, weight_decay=0.1, foreach=False), 14, 1),
        (lambda p: AdamW(p, weight_decay=0.1, foreach=True), 14, 1),
        (lambda p: AdamW(p, weight_decay=0.1, fused=True), 14, 1),
        (lambda p: Adam(p, weight_decay=0.1, foreach=False), 15, 1),
        (lambda p: Adam(p, weight_decay=0.1, fused=True), 15, 1),
    ],
)
def test_element_wise_optimizers_are_charged_by_the_weight(
    make: Callable[[list[nn.Parameter]], Optimizer], each: int, counters: int
) -> None:
    """Number by number, on lists, or in one kernel: the same arithmetic."""
    assert update_flops(make(weights((7, 5), (5,), (2, 3, 4)))) == each * (35 + 5 + 24) + 3 * counters


@pytest.mark.parametrize("before", [0, 7])
def test_soap_takes_eight_products_a_step_and_two_factors_every_tenth(before: int) -> None:
    """From the algorithm (arXiv:2409.11321): two statistics, three rotations of both sides, then G Q and its QR."""
    m, n = 12, 9
    parameters = weights((m, n))
    optimizer = SOAP(parameters, weight_decay=0.1, precondition_frequency=10)
    for _ in range(before):
        optimizer.step()
    step = 8 * m * n * (m + n) + 13 * m * n + 3 * (m**2 + n**2)
    tenth = sum(2 * k**3 + 8 / 3 * k**3 + 2 * k**2 for k in (m, n))
    assert update_flops(optimizer) == pytest.approx(step + tenth / 10, abs=0.1)  # 8/3 k^3 is rounded


class EveryTenth(Optimizer):
    """A product of two 8 x 8 matrices at every tenth step, and nothing else."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.num_steps = 0
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> Any:
        self.num_steps += 1
        for one in self.param_groups[0]["params"]:
            self.state[one]["seen"] = True
            if self.num_steps % 10 == 0:
                torch.mm(one.data, one.data)


@pytest.mark.parametrize("before", [1, 5, 9])
def test_work_of_every_tenth_step_is_a_tenth_of_it(before: int) -> None:
    """Wherever in its period counting begins; the counter of steps is where it was."""
    optimizer = EveryTenth(weights((8, 8)))
    for _ in range(before):
        optimizer.step()
    assert update_flops(optimizer) == 2 * 8**3 / 10
    assert optimizer.num_steps == before


def model_of(name: str) -> tuple[nn.Module, list[Optimizer]]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(30, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 5))
    return model, build_optimizers(name, model, peak_lr=0.02, total_steps=100)


def train(model: nn.Module, optimizers: list[Optimizer], count: int) -> list[float]:
    """Losses of so many updates; gradients are left."""
    generator, losses = torch.Generator().manual_seed(1), list[float]()
    for _ in range(count):
        model.zero_grad()
        loss = model(torch.randn(16, 30, generator=generator)).square().mean()
        loss.backward()
        for one in optimizers:
            one.step()
        losses.append(loss.item())
    return losses


def held(model: nn.Module, optimizers: list[Optimizer]) -> list[tuple[int, Tensor]]:
    """Weights, gradients and tensors of optimizer state: where they lie, and copies."""
    state = [value for one in optimizers for slots in one.state.values() for value in slots.values()]
    own = [tensor for one in model.parameters() for tensor in (one.data, one.grad) if tensor is not None]
    tensors = [*own, *(value for value in state if isinstance(value, Tensor))]
    return [(one.data_ptr(), one.clone()) for one in tensors]


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_run_goes_on_as_if_nothing_had_been_counted(name: str) -> None:
    """Weights, gradients and state, in place and bit for bit, and the losses of the next twelve updates."""
    model, optimizers = model_of(name)
    twin, others = model_of(name)
    assert train(model, optimizers, 12) == train(twin, others, 12)
    before = held(model, optimizers)
    assert update_flops(optimizers) > 0
    for (place, value), (place_now, now) in zip(before, held(model, optimizers), strict=True):
        assert place == place_now
        assert torch.equal(value, now)
    assert train(model, optimizers, 12) == train(twin, others, 12)


def test_an_optimizer_without_state_has_none_afterwards() -> None:
    """Counting makes its state on a copy."""
    optimizer = AdamW(weights((3, 3)))
    update_flops(optimizer)
    assert not optimizer.state


def test_a_wrapped_optimizer_is_as_it_was_too() -> None:
    """Lookahead's own slow weights, and the state of the optimizer inside it, which cannot be copied as it is."""
    model, (inner,) = model_of("soap")
    wrapped = Lookahead(inner, k=5)
    train(model, [wrapped], 7)
    before, slow = held(model, [inner]), [value.clone() for value in tensors_in(wrapped.state)]
    update_flops(wrapped)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(before, held(model, [inner]), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(slow, tensors_in(wrapped.state), strict=True))


def tensors_in(state: Any) -> list[Tensor]:
    return [value for slots in state.values() for value in slots.values() if isinstance(value, Tensor)]


def test_random_streams_are_where_they_were() -> None:
    """Those of torch, numpy and Python, drawn from by the gradients."""
    (one,) = weights((4, 4))

    def draw() -> tuple[float, ...]:
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    def gradients() -> None:
        one.grad = torch.full((4, 4), sum(draw()))

    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    expected = draw()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    given = one.grad
    update_flops(SGD([one], lr=0.1), gradients=gradients)
    assert draw() == expected
    assert one.grad is given


def test_gradients_are_made_anew_before_every_call() -> None:
    """Twenty calls to fill the state, twenty that count."""
    (one,), calls = weights((4, 4)), list[int]()

    def gradients() -> None:
        calls.append(1)
        one.grad = torch.ones(4, 4)

    update_flops(AdamW([one]), gradients=gradients)
    assert len(calls) == 40


def test_hooks_of_others_are_not_run_and_are_still_there() -> None:
    """One that counts steps."""
    optimizer, seen = SGD(weights((2, 2)), lr=0.1), list[int]()
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    update_flops(optimizer)
    assert not seen
    optimizer.step()
    assert seen == [1]


def test_a_failing_step_is_one_line_and_leaves_the_weights() -> None:
    """The optimizer moves the weights, then fails."""

    class Failing(SGD):
        def step(self, closure: Any = None) -> Any:
            super().step()
            raise ValueError("no more")

    (one,) = weights((2, 2))
    before = one.detach().clone()
    with pytest.raises(HptError, match=r"the operations of Failing cannot be counted \(ValueError: no more"):
        update_flops(Failing([one], lr=0.1))
    assert torch.equal(one, before)


def test_nothing_to_count_is_refused() -> None:
    """No call, and no gradient."""
    with pytest.raises(UsageError, match="calls is 0, it must be 1 or more"):
        update_flops(SGD(weights((2, 2)), lr=0.1), calls=0)
    with pytest.raises(UsageError, match="no parameter has a gradient"):
        update_flops(SGD(nn.Linear(2, 2).parameters(), lr=0.1))
