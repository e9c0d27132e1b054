"""What is declared once is saved apart from the object and comes back bit for bit."""

from collections import deque
from typing import Any

import numpy as np
import pytest
import torch

from hpt.errors import CheckpointError
from hpt.numerics.stateful import Stateful
from hpt.trainer.codec import decode, encode


class Inner(Stateful):
    _state = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Outer(Stateful):
    _state = ("_numbers", "queue", "inner", "_by_name", "draws", "noise", "weights", "model", "_maybe", "pairs")

    def __init__(self, size: int = 3) -> None:
        self._numbers = np.zeros(size)
        self.view = self._numbers[1:]
        self.queue = deque([0.0], maxlen=2)
        self.inner = Inner()
        self._by_name = {"a": Inner()}
        self.draws = np.random.default_rng(0)
        self.noise = torch.Generator().manual_seed(0)
        self.weights = torch.zeros(2)
        self.model = torch.nn.Linear(2, 1)
        self._maybe: float | None = None
        self.pairs: list[tuple[int, float]] = []

    def go_on(self) -> list[Any]:
        """Change every field, and tell what follows from it."""
        self._numbers += self.draws.standard_normal(len(self._numbers))
        self.queue.append(float(self._numbers[0]))
        self.inner.count += 1
        self._by_name["a"].count += 2
        self.weights += torch.rand(2, generator=self.noise)
        with torch.no_grad():
            self.model.weight.add_(self.weights)
        self._maybe = 0.1 if self._maybe is None else self._maybe / 3
        self.pairs.append((self.inner.count, self._maybe))
        counts = [self.inner.count, self._by_name["a"].count]
        fields = [self.view.tolist(), list(self.queue), self.weights.tolist(), self.model.weight.tolist()]
        return [*counts, *fields, self._maybe, list(self.pairs)]


def test_a_restored_object_continues_bit_for_bit() -> None:
    """Through the checkpoint's own codec, arrays with views, queues, members and generators included."""
    one, other = Outer(), Outer()
    for _ in range(3):
        one.go_on()
    other.load_state_dict(decode(*encode(one.state_dict())))
    assert [other.go_on() for _ in range(4)] == [one.go_on() for _ in range(4)]
    assert other.queue.maxlen == 2


def test_a_state_is_apart_from_its_object() -> None:
    """What happens afterwards does not reach into what was saved, nor into what it was restored from."""
    one, other = Outer(), Outer()
    one.go_on()
    saved, same = one.state_dict(), one.state_dict()
    one.go_on()
    other.load_state_dict(saved)
    other.go_on()
    assert encode(saved)[1] == encode(same)[1]
    assert all(torch.equal(encode(saved)[0][key], value) for key, value in encode(same)[0].items())


def test_another_shape_is_refused_by_name() -> None:
    """A message that says which field, and what to do."""
    with pytest.raises(CheckpointError, match=r"numbers was saved with shape \(3,\), here it is \(4,\); use the"):
        Outer(4).load_state_dict(Outer(3).state_dict())
