"""The set of trained parameters: what is in it, when it changes, and what lies in one memory."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hpt.jump.parameters import ParameterSet
from hpt.optimizers.inner import InnerOptimizer


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))


def same(shared: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(shared.data)


def transposed(shared: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(shared.data.T)


def some_rows(shared: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(shared.data[1:3])


def as_real(shared: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.view_as_real(shared.data))


@pytest.mark.parametrize("other", [same, transposed, some_rows, as_real])
def test_one_memory_behind_two_parameters_counts_once(other: Callable[[nn.Parameter], nn.Parameter]) -> None:
    """Whatever the second one's shape, the larger, or else the first, stands for both."""
    one = nn.Parameter(torch.zeros(4, 6, dtype=torch.complex64)) if other is as_real else parameter(4, 6)
    two = other(one)
    parameters = ParameterSet(
        nn.ParameterList([two, one]), InnerOptimizer(torch.optim.SGD([{"params": [two]}, {"params": [one]}]))
    )
    kept = [[p is two for p in group] for group in parameters.distinct()]
    assert kept == ([[True], []] if two.numel() >= one.numel() else [[], [False]])
    assert [len(group) for group in parameters.groups] == [1, 1]


def test_neighbours_in_one_buffer_are_parameters_of_their_own() -> None:
    """A model whose weights were laid out in one flat tensor, or in columns of one matrix, keeps all of them."""
    flat, wide = torch.zeros(20), torch.zeros(4, 6)
    pieces = [flat[:12].view(3, 4), flat[12:], wide[:, :2], wide[:, 2:]]
    every = [nn.Parameter(piece) for piece in pieces]
    parameters = ParameterSet(nn.ParameterList(every), InnerOptimizer(torch.optim.SGD(every)))
    assert [len(group) for group in parameters.distinct()] == [4]


def test_what_is_trained_elsewhere_is_clipped_and_no_change() -> None:
    """Freezing a parameter that this optimizer does not hold changes what is clipped and nothing that is followed."""
    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    parameters = ParameterSet(model, InnerOptimizer(torch.optim.SGD(model[0].parameters())))
    parameters.settle()
    model[1].requires_grad_(False)
    assert parameters.refresh()
    assert (len(parameters.clipped), parameters.change) == (2, "")
    assert not parameters.refresh()


def test_a_change_is_named() -> None:
    """What came, what went, what has another shape."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    parameters = ParameterSet(model, InnerOptimizer(torch.optim.SGD(model.parameters())))
    parameters.settle()
    model[0].requires_grad_(False)
    parameters.refresh()
    assert parameters.change == "no longer trained: 0.weight, 0.bias"
    parameters.settle()
    model[0].bias.requires_grad_(True)
    parameters.refresh()
    assert parameters.change == "trained: 0.bias"


def test_new_memory_in_every_cycle_is_how_a_loop_updates_and_once_is_a_change() -> None:
    """Out-of-place updates are a change at the first look only; a swap in a loop that writes in place is one."""
    one = parameter(3)
    parameters = ParameterSet(nn.ParameterList([one]), InnerOptimizer(torch.optim.SGD([one])))
    parameters.settle()
    told: list[bool] = []
    for moves in (True, True, True, False, True):
        if moves:
            one.data = one.data.clone()
        parameters.look_at_memory(after_cycle=True)
        told.append(bool(parameters.change))
        if parameters.change:
            parameters.settle()
    assert told == [True, False, False, False, True]


def test_another_set_than_the_saved_one_is_refused_by_name() -> None:
    """The message names the parameters."""
    model = nn.Linear(2, 2)
    saved = ParameterSet(model, InnerOptimizer(torch.optim.SGD(model.parameters()))).state_dict()
    model.bias.requires_grad_(False)
    other = ParameterSet(model, InnerOptimizer(torch.optim.SGD(model.parameters())))
    with pytest.raises(ValueError, match="no longer trained: bias"):
        other.load_state_dict(saved)
