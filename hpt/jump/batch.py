"""A batch that is wanted more than once: by probes, forks and updates that are run again.

A loss function may take keys out of its batch, read an iterator in it to the end, or change a tensor in place. The
training step gets the caller's own batch, as in a plain loop. What is kept of it for later are containers of our own
(mappings, lists, tuples, dataclasses, other objects through their attributes), made before that step; tensors are
shared and watched by their version counter, arrays are copied. Changes through `tensor.data` or a shared array go by
unseen.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from operator import is_
from typing import Any, cast

import numpy as np
import torch

MAX_PARTS = 10_000  # a batch of more containers and tensors is shared beyond them, not copied and watched
_ATOMS = {type(None), bool, int, float, complex, str, bytes}


class BatchSpent(Exception):
    """The batch cannot be had a second time."""


class KeptBatch:
    """One batch, as it was when it came.

    Attributes:
        value: its content in containers of our own; to be stored, not to be given away.
    """

    __slots__ = ("_one_shot", "_tensors", "_versions", "value")

    def __init__(self, batch: Any) -> None:
        self._one_shot = ""
        if type(batch) is tuple and all(type(part) is torch.Tensor for part in batch):  # as most are
            self.value, self._tensors = batch, [*batch]
        else:
            self._tensors = []
            rebuild = _Rebuild(self._watched)
            self.value = rebuild(batch)
            self._one_shot = rebuild.one_shot
        self._versions = _versions(self._tensors)

    def _watched(self, tensor: torch.Tensor) -> torch.Tensor:
        self._tensors.append(tensor)
        return tensor

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(one.nbytes for one in self._tensors)

    @property
    def spent(self) -> str:
        """Why it cannot be had again, "" if it can."""
        if self._one_shot:
            return f"the batch holds a {self._one_shot}, which can be read once"
        if _versions(self._tensors) != self._versions:
            return "a tensor of the batch was changed in place"
        return ""

    def again(self) -> Any:
        """The batch for one more training step: containers of its own, the same tensors.

        Raises:
            BatchSpent: it cannot be had again.
        """
        return self._rebuilt(lambda tensor: tensor)

    def copied(self) -> Any:
        """The batch for a probe, which may do with it as it likes: containers and tensors of its own.

        Raises:
            BatchSpent: it cannot be had again.
        """
        return self._rebuilt(_cloned)

    def _rebuilt(self, on_tensor: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        if reason := self.spent:
            raise BatchSpent(reason)
        return _Rebuild(on_tensor)(self.value)


def _versions(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Each tensor's count of changes in place; one made in inference mode has none, and cannot be changed either."""
    return [0 if one.is_inference() else one._version for one in tensors]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _cloned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


class _Rebuild:
    """One walk through a batch, in which every container is made anew; what is met twice is one thing again."""

    def __init__(self, on_tensor: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.one_shot = ""
        self._on_tensor = on_tensor
        self._made: dict[int, tuple[Any, Any]] = {}  # with the original, so that no other object gets its id

    def __call__(self, part: Any) -> Any:
        if type(part) in _ATOMS:
            return part
        if id(part) not in self._made and len(self._made) < MAX_PARTS:
            self._made[id(part)] = part, self._anew(part)
        return self._made.get(id(part), (part, part))[1]

    def _anew(self, part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            return self._on_tensor(part)
        if isinstance(part, tuple):
            return self._tuple(cast("tuple[Any, ...]", part))
        if isinstance(part, np.ndarray):
            return part.copy()
        if isinstance(part, Mapping):
            return self._mapping(cast("Mapping[Any, Any]", part))
        if isinstance(part, MutableSequence):
            return self._sequence(cast("MutableSequence[Any]", part))
        if isinstance(part, Iterator):
            self.one_shot = type(cast("object", part)).__name__
        return self._object(part)

    def _tuple(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        items = [self(item) for item in part]
        if all(map(is_, items, part)):
            return part
        kind = type(part)
        try:
            return tuple.__new__(kind, items)  # past the signatures that named tuples and packed sequences have
        except TypeError:
            return kind(items)  # torch.return_types

    def _mapping(self, part: Mapping[Any, Any]) -> Mapping[Any, Any]:
        items = list(part.items())
        if isinstance(part, MutableMapping):
            return self._filled(part, items)
        fresh = {key: self(item) for key, item in items}
        kind = cast("Callable[[dict[Any, Any]], Mapping[Any, Any]]", type(part))
        return part if all(fresh[key] is item for key, item in items) else kind(fresh)

    def _sequence(self, part: MutableSequence[Any]) -> MutableSequence[Any]:
        plain = set(map(type, part)) <= _ATOMS
        return copy.copy(part) if plain else self._filled(part, list(enumerate(part)))

    def _filled(self, part: Any, items: Sequence[tuple[Any, Any]]) -> Any:
        fresh = copy.copy(part)
        for key, item in items:
            new = self(item)
            if new is not item:
                fresh[key] = new
        return fresh

    def _object(self, part: Any) -> Any:
        """An object with attributes: a dataclass, or whatever a data pipeline hands out."""
        slots = [name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())]
        names = [*getattr(part, "__dict__", ()), *slots]
        if not names or isinstance(part, (torch.nn.Module, type, Iterator)):
            return part
        try:
            fresh = copy.copy(part)
        except Exception:  # noqa: BLE001 (whatever its class raises: it is shared)
            return part
        self._made[id(part)] = part, fresh  # its attributes may point back to it
        for name in names if fresh is not part else ():
            item = getattr(fresh, name, None)
            new = self(item)
            if new is not item:
                object.__setattr__(fresh, name, new)
        return fresh
