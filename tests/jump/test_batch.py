"""A kept batch gives the same content again, whatever was done with the first, or says why it cannot."""

from collections import OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn.utils import rnn

from hpt.jump.batch import BatchSpent, KeptBatch


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass
class Example:
    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class Slotted:
    x: Any
    y: Any


class Encoding(UserDict[str, Any]):
    """As tokenizers hand out: a mapping with attributes of its own."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.encodings = [1, 2]


CONTAINERS: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "dict": lambda x, y: {"x": x, "y": y},
    "nested": lambda x, y: {"inputs": {"x": [x]}, "y": (y, [y])},
    "OrderedDict": lambda x, y: OrderedDict(x=x, y=y),
    "defaultdict": lambda x, y: defaultdict(list, x=[x], y=[y]),
    "mapping proxy": lambda x, y: MappingProxyType({"x": [x], "y": y}),
    "encoding": lambda x, y: Encoding({"x": x, "y": y}),
    "named tuple": lambda x, y: Pair([x], y),
    "dataclass": Example,
    "frozen dataclass with slots": lambda x, y: Slotted([x], y),
    "namespace": lambda x, y: SimpleNamespace(x=x, y=y),
    "deque": lambda x, y: deque([x, y], maxlen=2),
    "packed sequence": lambda x, y: rnn.pack_sequence([x, y]),
    "return type": lambda x, y: torch.max(torch.stack((x, y)), 0),
    "array and text": lambda x, y: {"x": x, "y": y.numpy(), "text": "a", "number": 1},
}


def parts(value: Any) -> list[Any]:
    """Leaves, in order."""
    if isinstance(value, (dict, UserDict, MappingProxyType)):
        return [leaf for key, item in value.items() for leaf in (key, *parts(item))]
    if isinstance(value, (list, tuple, deque)):
        return [leaf for item in value for leaf in parts(item)]
    if is_dataclass(value):
        return [leaf for one in fields(value) for leaf in parts(getattr(value, one.name))]
    if isinstance(value, SimpleNamespace):
        return parts(vars(value))
    return [value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else value]


def plunder(value: Any) -> None:
    """Take everything out of the containers, as deep as they can be changed."""
    if isinstance(value, (dict, UserDict, MappingProxyType)):
        for item in list(value.values()):
            plunder(item)
    elif isinstance(value, (list, tuple, deque)):
        for item in value:
            plunder(item)
    elif isinstance(value, Slotted):
        plunder(value.x)
    elif isinstance(value, np.ndarray):
        value += 1
    if isinstance(value, (dict, UserDict, list, deque)):
        value.clear()
    elif isinstance(value, (Example, SimpleNamespace)):
        value.x = value.y = None


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_batch_that_was_plundered_can_be_had_again(name: str) -> None:
    """Type and content are those of a batch nobody touched, as often as it is asked for."""
    x, y = torch.arange(3.0), torch.arange(3.0, 6.0)
    batch, expected = CONTAINERS[name](x, y), CONTAINERS[name](x.clone(), y.clone())
    kept = KeptBatch(batch)
    plunder(batch)
    for have in (kept.again, kept.copied, kept.again, kept.copied):
        again = have()
        assert type(again) is type(expected)
        assert parts(again) == parts(expected)
        plunder(again)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_copy_shares_no_memory_with_the_batch(name: str) -> None:
    """What a probe writes into its tensors is seen by nobody else, and the batch can still be had."""
    batch = CONTAINERS[name](torch.arange(3.0), torch.arange(3.0, 6.0))
    kept, expected = KeptBatch(batch), parts(batch)
    copies = KeptBatch(kept.copied())._tensors
    assert copies
    for one in copies:
        one.fill_(-1)
    assert parts(batch) == expected
    assert kept.spent == ""


CHANGES: dict[str, Callable[[torch.Tensor], object]] = {
    "mul_": lambda x: x.mul_(2),
    "index": lambda x: x.__setitem__(0, 9.0),
    "view": lambda x: x.view(-1)[1:].zero_(),
    "out": lambda x: torch.add(x, 1, out=x),
    "copy_": lambda x: x.copy_(torch.zeros(3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_tensor_changed_in_place_spends_the_batch(name: str) -> None:
    """By any operation, through a view too, deep inside containers."""
    x = torch.arange(3.0)
    kept = KeptBatch({"inputs": [x]})
    CHANGES[name](x)
    with pytest.raises(BatchSpent, match="changed in place"):
        kept.again()
    with pytest.raises(BatchSpent, match="changed in place"):
        kept.copied()


ITERATORS: dict[str, Callable[[], Iterator[Any]]] = {
    "generator": lambda: (one for one in (1, 2)),
    "list_iterator": lambda: iter([1, 2]),
    "zip": lambda: zip((1,), (2,), strict=True),
    "map": lambda: map(str, (1, 2)),
}


@pytest.mark.parametrize("name", ITERATORS)
def test_a_batch_with_an_iterator_can_be_had_once(name: str) -> None:
    """The iterator is named, and nothing was read from it."""
    iterator = ITERATORS[name]()
    kept = KeptBatch({"rows": (iterator, torch.zeros(1))})
    with pytest.raises(BatchSpent, match=f"holds a {name}, which can be read once"):
        kept.again()
    assert len(list(iterator)) in (1, 2)


def test_what_requires_a_gradient_does_so_in_a_copy_of_its_own() -> None:
    """Physics-informed losses differentiate by the inputs; a probe's inputs are leaves that nobody else sees."""
    x = torch.ones(2, requires_grad=True)
    (copied,) = KeptBatch([x]).copied()
    copied.square().sum().backward()
    assert copied.grad.tolist() == [2.0, 2.0]
    assert x.grad is None


def test_one_tensor_under_two_names_stays_one() -> None:
    """Labels that are the inputs (language models) are copied once, and cycles of objects end."""
    x = torch.ones(2)
    holder = SimpleNamespace(x=x)
    holder.me = holder
    copied = KeptBatch({"input_ids": x, "labels": x, "holder": holder}).copied()
    assert copied["input_ids"] is copied["labels"] is copied["holder"].x
    assert copied["holder"].me is copied["holder"]
    assert copied["input_ids"] is not x


def test_tensors_of_inference_mode_are_kept() -> None:
    """They have no version counter, and cannot be changed outside that mode."""
    with torch.inference_mode():
        x = torch.ones(2)
    kept = KeptBatch((x,))
    assert kept.again()[0].tolist() == kept.copied()[0].tolist() == [1.0, 1.0]
