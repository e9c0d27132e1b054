"""What a loss function holds on to is found, by whichever way it holds it."""

import itertools
import random
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpt.jump.reach import Reach, reach

CRITERION = nn.BatchNorm1d(2)
DATA = iter([1, 2, 3])
COUNTER = itertools.count()


def by_global(model: nn.Module, batch: Any) -> Any:
    return CRITERION(model(batch))


def by_helper(model: nn.Module, batch: Any) -> Any:
    return by_global(model, batch) + 0


def by_argument(criterion: Any, model: nn.Module, batch: Any) -> Any:
    return criterion(model(batch))


def by_default(model: nn.Module, batch: Any, criterion: nn.Module = CRITERION) -> Any:
    return criterion(model(batch))


class Task:
    """Holds what the loss needs in attributes."""

    def __init__(self) -> None:
        self.parts = {"criterion": CRITERION}
        self.data = iter([1, 2])
        self.unread = iter([3, 4])
        self.source = np.random.default_rng(0)

    def loss(self, model: nn.Module, batch: Any) -> Any:
        return self.parts["criterion"](model(batch))

    def reading_loss(self, model: nn.Module, batch: Any) -> Any:
        return model(next(self.data)) + batch

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        return self.loss(model, batch)


def by_cell() -> Callable[..., Any]:
    criterion = CRITERION
    return lambda model, batch: criterion(model(batch))


def by_decorator() -> Callable[..., Any]:
    @wraps(by_global)
    def outer(*arguments: Any) -> Any:
        return inner(*arguments)

    inner = by_global
    return outer


HOLDERS: dict[str, Callable[[], object]] = {
    "global": lambda: by_global,
    "helper": lambda: by_helper,
    "cell": by_cell,
    "default": lambda: by_default,
    "partial": lambda: partial(by_argument, CRITERION),
    "keyword of a partial": lambda: partial(by_argument, criterion=CRITERION),
    "bound method": lambda: Task().loss,
    "callable object": Task,
    "decorator": by_decorator,
    "itself": lambda: CRITERION,
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_criterion_is_found(name: str) -> None:
    """The one module that the loss function holds, and not the model."""
    model = nn.Linear(2, 2)
    assert reach(HOLDERS[name](), model).modules == [CRITERION]


def test_the_model_itself_is_not_beside_the_model() -> None:
    """A loss that closes over the model adds nothing, and neither does a plain one."""
    model = nn.Linear(2, 2)
    assert reach(lambda _, batch: model(batch), model) == Reach()
    assert reach(lambda net, batch: nn.functional.mse_loss(net(batch), batch), model) == Reach()


def test_random_streams_are_found_in_the_loss_and_in_the_model() -> None:
    """Torch's, numpy's old and new ones and Python's."""
    model, layer = nn.Sequential(), nn.Linear(1, 1)
    layer.draws = torch.Generator()  # type: ignore[assignment]
    model.append(layer)
    old, own, task = np.random.RandomState(0), random.Random(0), Task()
    found = reach(partial(task.loss, batch=[old, {"own": own}]), model)
    assert {id(one) for one in found.sources} == {id(one) for one in (layer.draws, old, own, task.source)}


def test_readers_are_what_the_code_reads_from() -> None:
    """A global, a cell, an argument or a named attribute that is an iterator; a counter is none, nor is a neighbour."""
    model, rows = nn.Linear(2, 2), iter([1])
    assert reach(lambda net, _: net(next(DATA)), model).readers == ["list_iterator"]
    assert reach(lambda net, _: net(next(rows)), model).readers == ["list_iterator"]
    assert reach(partial(by_argument, rows), model).readers == ["list_iterator"]
    assert reach(Task().reading_loss, model).readers == ["list_iterator"]
    assert reach(Task().loss, model).readers == []
    assert reach(lambda net, _: net(next(COUNTER)), model).readers == []


def test_a_cell_that_is_not_filled_yet_is_passed_over() -> None:
    """A loss defined before its criterion."""

    def loss(net: nn.Module, batch: Any) -> Any:
        return later(net(batch))

    assert reach(loss, nn.Linear(1, 1)) == Reach()
    later = CRITERION
    assert reach(loss, nn.Linear(1, 1)).modules == [CRITERION]
