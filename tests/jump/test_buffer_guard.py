"""Buffers come back as they were, replaced ones and odd ones too."""

import copy

import pytest
import torch
from references.same import assert_same
from torch import nn

from hpt.jump.snapshot import BufferGuard, Snapshot


class Drifting(nn.Module):
    """A buffer that every forward replaces, one that it counts in, one that shows one row many times."""

    rows: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("rows", torch.arange(3.0).expand(4, 3))
        self.register_buffer("absent", None)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.average = 0.5 * self.average + inputs
        self.seen += 1
        self.rows[0] += 1
        self.absent = inputs
        return self.average


@pytest.mark.parametrize("by", ["guard", "snapshot"])
def test_replaced_and_odd_buffers_are_put_back(by: str) -> None:
    """Buffers that a forward replaces, counts in or fills for the first time are as they were before it."""
    model = Drifting()
    model(torch.ones(3))
    weight = nn.Parameter(torch.ones(1))
    if by == "guard":
        keeper = BufferGuard(model)
        keeper.save()
    else:
        keeper = Snapshot.take(model, torch.optim.SGD([weight], 0.1), None, None)
    before, average = {name: one.clone() for name, one in model.named_buffers()}, model.average
    for _ in range(3):
        model(torch.full((3,), 2.0))
    keeper.restore()
    assert model.average is average
    assert_same({name: one.clone() for name, one in model.named_buffers()}, before)


def test_guard_follows_the_buffers_from_save_to_save() -> None:
    """Each save supersedes the last: a skipped update leaves the statistics as before its own forward."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    guard = BufferGuard(model)
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        guard.save()
        model(inputs)
    expected = copy.deepcopy(dict(model.named_buffers()))
    guard.save()
    model(inputs * 100)
    guard.restore()
    assert_same(dict(model.named_buffers()), expected)
    assert expected["1.num_batches_tracked"] == 3
    assert guard.nbytes == 2 * 3 * 4 + 8


def test_guard_follows_buffers_that_are_replaced() -> None:
    """After a forward put a new tensor in a slot, the next save keeps that one, not the one before."""
    model = Drifting()
    guard = BufferGuard(model)
    for _ in range(2):
        guard.save()
        model(torch.ones(3))
    guard.save()
    expected, average = copy.deepcopy(dict(model.named_buffers())), model.average
    model(torch.full((3,), 2.0))
    average.zero_()
    guard.restore()
    assert model.average is average
    assert_same(dict(model.named_buffers()), expected)


def test_guard_of_a_model_without_buffers_holds_nothing() -> None:
    """Without buffers the guard keeps no memory and restoring is harmless."""
    model = nn.Linear(3, 3)
    guard = BufferGuard(model)
    guard.save()
    guard.restore()
    assert guard.nbytes == 0
