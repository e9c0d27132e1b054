"""Batches in the containers that people hand around."""

import dataclasses
import re
from collections import UserDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from transformers import BatchEncoding


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


@dataclasses.dataclass
class Example:
    x: Tensor
    y: Tensor


class Plain:
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y


def _packed(x: Tensor, y: Tensor) -> tuple[PackedSequence, Tensor]:
    return pack_padded_sequence(x[:, None], torch.ones(len(x), dtype=torch.int64), batch_first=True), y


KINDS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "namedtuple": Pair,
    "dataclass": Example,
    "batch_encoding": lambda x, y: BatchEncoding({"x": x, "y": y}),
    "packed": _packed,
    "attributes": Plain,
    "mapping": lambda x, y: UserDict(x=x, y=[y]),
}


def parts_of(batch: Any) -> tuple[Tensor, Tensor]:
    if isinstance(batch, (BatchEncoding, UserDict)):
        return batch["x"], batch["y"][0] if isinstance(batch["y"], list) else batch["y"]
    if isinstance(batch, tuple) and not isinstance(batch, Pair):
        return batch[0].data, batch[1]
    return batch.x, batch.y


class Unstorable:
    """A batch that no file holds: a compiled expression is in it."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.rest = x, y, re.compile("x")
