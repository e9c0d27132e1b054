"""Buffers come back as they were, replaced ones and odd ones too."""

import copy

import pytest
import torch
from references.same import assert_same
from torch import nn

from hpt.jump.snapshot import BufferGuard, Snapshot
from hpt.optimizers.inner import InnerOptimizer


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
        keeper = Snapshot.take(model, InnerOptimizer(torch.optim.SGD([weight], 0.1)))
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


class Growing(nn.Module):
    """Registers a buffer, or builds a layer with some, in its first forward; another gets its size there."""

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "resized":
            self.register_buffer("low", torch.zeros(0))
            self.register_buffer("high", torch.zeros(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "layer" and not hasattr(self, "norm"):
            self.norm = nn.BatchNorm1d(3)
        if self.kind == "buffer" and not hasattr(self, "low"):
            self.register_buffer("low", torch.zeros(3))
        if self.kind == "layer":
            return self.norm(x)
        if self.kind == "resized":
            self.high.resize_(3).copy_(x.amax(0))
        self.low.resize_(3).copy_(x.amin(0))
        return x


@pytest.mark.parametrize("kind", ["buffer", "layer", "resized"])
def test_buffers_of_the_first_forward_are_guarded_in_the_second(kind: str) -> None:
    """Whatever the first forward made is as it left it, after a second one was undone."""
    model = Growing(kind)
    guard = BufferGuard(model)
    guard.save()
    model(torch.ones(4, 3))
    expected = copy.deepcopy(dict(model.named_buffers()))
    guard.save()
    model(torch.full((4, 3), 100.0))
    guard.restore()
    assert_same(dict(model.named_buffers()), expected)


@pytest.mark.parametrize("by", ["guard", "snapshot"])
def test_a_buffer_that_got_its_size_since_has_none_again(by: str) -> None:
    """An observer that has seen its first data is as it was before; two empty buffers are two."""
    model = Growing("resized")
    keeper = (
        BufferGuard(model)
        if by == "guard"
        else Snapshot.take(model, InnerOptimizer(torch.optim.SGD([nn.Parameter(torch.ones(1))])))
    )
    if isinstance(keeper, BufferGuard):
        keeper.save()
    model(torch.ones(4, 3))
    keeper.restore()
    assert [tuple(one.shape) for one in model.buffers()] == [(0,), (0,)]
    model(torch.full((4, 3), 2.0))
    assert [one.tolist() for one in model.buffers()] == [[2.0] * 3] * 2


def test_a_buffer_registered_late_is_guarded_once_the_guard_looked_again() -> None:
    """Looking is for the first two saves and then once a cycle, since it walks all modules."""
    model = nn.Sequential(nn.Linear(3, 3))
    guard = BufferGuard(model)
    for _ in range(3):
        guard.save()
    model.register_buffer("late", torch.zeros(1))
    guard.look_again()
    guard.save()
    model.get_buffer("late").fill_(1)
    guard.restore()
    assert model.get_buffer("late").item() == 0


def test_modules_beside_the_model_are_guarded_while_they_train() -> None:
    """A criterion's statistics come back; a teacher in eval mode, which cannot change, costs nothing."""
    model, criterion, teacher = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3).eval()
    guard = BufferGuard(model, [criterion, teacher])
    guard.save()
    criterion(torch.ones(4, 3) * 5)
    guard.restore()
    assert criterion.get_buffer("running_mean").tolist() == [0.0] * 3
    assert guard.nbytes == 2 * 3 * 4 + 8


def test_guard_of_a_model_without_buffers_holds_nothing() -> None:
    """Without buffers the guard keeps no memory and restoring is harmless."""
    model = nn.Linear(3, 3)
    guard = BufferGuard(model)
    guard.save()
    guard.restore()
    assert guard.nbytes == 0
