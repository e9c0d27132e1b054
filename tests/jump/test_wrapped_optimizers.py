"""Optimizers over others: what a snapshot holds is the state where it lies, not what the outer one shows of it."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from hpt.jump.snapshot import Snapshot
from hpt.optimizers.inner import InnerOptimizer


def _train(model: nn.Module, optimizer: Any, steps: int, seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = (model(torch.randn(8, 3, generator=generator)) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Wrapper:
    """An optimizer over others, as mixed-precision packages and trainers have them."""

    def __init__(self, *inner: Any) -> None:
        self.inner: Any = list(inner)

    def all(self) -> list[Any]:
        return self.inner

    @property
    def state(self) -> Any:
        return {key: entry for one in self.all() for key, entry in one.state.items()}

    @property
    def param_groups(self) -> Any:
        return [group for one in self.all() for group in one.param_groups]

    def zero_grad(self, **settings: Any) -> None:
        for one in self.all():
            one.zero_grad(**settings)

    def step(self) -> None:
        for one in self.all():
            one.step()


class ReadOnly(Wrapper):
    """Shows its state through a proxy."""

    @property
    def state(self) -> Any:
        return MappingProxyType(super().state)


class Named(Wrapper):
    """Keeps the others by name."""

    def __init__(self, *inner: Any) -> None:
        self.inner = {str(index): one for index, one in enumerate(inner)}

    def all(self) -> list[Any]:
        return list(self.inner.values())


class LookAhead(torch.optim.Optimizer):
    """Has state of its own beside that of the optimizer it wraps (arXiv:1907.08610)."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        super().__init__(base.param_groups, {})
        self.base = base
        self.param_groups = base.param_groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.base.step()
        for group in self.param_groups:
            for p in group["params"]:
                slow = self.state[p].setdefault("slow", p.detach().clone())
                slow.lerp_(p, 0.5)
                p.copy_(slow)


WRAPPERS: dict[str, Callable[[torch.optim.Optimizer, torch.optim.Optimizer], Any]] = {
    "list": Wrapper,
    "read only": ReadOnly,
    "by name": Named,
    "twice": lambda one, two: Wrapper(Wrapper(one), two),
    "look ahead": lambda one, two: Wrapper(LookAhead(one), two),
}


@pytest.mark.parametrize("steps_before", [0, 2])
@pytest.mark.parametrize("name", WRAPPERS)
def test_state_of_wrapped_optimizers_comes_back(name: str, steps_before: int) -> None:
    """Entries made since are gone, older ones have their values, and the next losses are those without the detour."""
    losses: list[list[float]] = []
    for detour in (0, 3):
        torch.default_generator.manual_seed(7)
        model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3))
        inner = [torch.optim.Adam(layer.parameters(), 0.1) for layer in model]
        optimizer = WRAPPERS[name](*inner)
        _train(model, optimizer, steps_before, seed=1)
        snapshot = Snapshot.take(model, InnerOptimizer(optimizer))
        _train(model, optimizer, detour, seed=2)
        snapshot.restore()
        assert [len(one.state) for one in inner] == [steps_before and 1, steps_before and 2]
        losses.append(_train(model, optimizer, 3, seed=3))
    assert losses[0] == losses[1]
