"""What others changed between two calls of the trainer: an undo leaves it as it is.

The caller may step a schedule at an epoch's end or set a rate by hand, and a second trainer may train another part of
the same model, whose buffers then move. Settings of parameter groups and buffers are compared from the end of one call
to the start of the next; a snapshot asks which of them others changed since it was taken. Parameters of other
optimizers are in no snapshot.
"""

from collections.abc import Callable, MutableMapping, Sequence
from itertools import chain
from operator import is_, methodcaller
from typing import Any

import torch

from hpt.optimizers.inner import InnerOptimizer

_Slots = MutableMapping[str, Any]
_Place = tuple[int, int]
"""Of slots: _BUFFERS and a registry's number, or an optimizer's number and its group's in it."""
_BUFFERS = -1
_values = methodcaller("values")


class OthersChanges:
    """Keeps account of buffers and settings of parameter groups that change between two calls.

    A context manager, entered around everything that the trainer does itself.

    Args:
        model: its buffers are compared.
        optimizer: the settings of its groups are compared.

    Attributes:
        num_calls: calls begun so far.
    """

    def __init__(self, model: torch.nn.Module, optimizer: InnerOptimizer) -> None:
        self._optimizer = optimizer
        registries = (one._buffers for one in model.modules())  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._registries: list[_Slots] = [registry for registry in registries if registry]
        self._changed: dict[tuple[_Place, str], int] = {}  # the call before which it changed last
        self.num_calls = 0
        self._look()

    def __enter__(self) -> None:
        """Take note of what others changed since the last time."""
        self.num_calls += 1
        slots = self._slots()
        if not self._holds_the_same(slots) or list(map(_version, self._tensors)) != self._versions:
            self._note(slots)

    def __exit__(self, *exception: object) -> None:
        """What changes from now on is changed by others."""
        self._look()

    def _look(self) -> None:
        slots = self._slots()
        self._group_counts = self._count_groups()
        self._keys, self._values = list(map(tuple, slots)), list(chain.from_iterable(map(_values, slots)))
        self._tensors = [value for value in self._values if isinstance(value, torch.Tensor)]
        self._versions = list(map(_version, self._tensors))

    def _note(self, slots: Sequence[_Slots]) -> None:
        values, versions = iter(self._values), dict(zip(map(id, self._tensors), self._versions, strict=True))
        present = self._placed(slots)
        for place, keys in zip(self._places(self._group_counts), self._keys, strict=True):
            seen, now = dict(zip(keys, values, strict=False)), present.get(place, {})
            changed = now.keys() - seen.keys()
            for name, value in seen.items():
                if name != "params" and name in now and _differs(now[name], value, versions.get(id(value), 0)):
                    changed.add(name)
            if changed and place[0] == _BUFFERS:
                changed = set(now)  # batch norm counts its batches in the open, and writes its averages unnoticed
            self._changed |= dict.fromkeys(((place, name) for name in changed), self.num_calls)

    def _count_groups(self) -> list[int]:
        return [len(one.param_groups) for one in self._optimizer.each]

    def _places(self, group_counts: Sequence[int]) -> list[_Place]:
        """Of all slots in their order; a group's does not change when another optimizer gets one more."""
        sizes = enumerate((len(self._registries), *group_counts), start=_BUFFERS)
        return [(part, number) for part, size in sizes for number in range(size)]

    def _placed(self, slots: Sequence[_Slots]) -> dict[_Place, _Slots]:
        return dict(zip(self._places(self._count_groups()), slots, strict=True))

    def _holds_the_same(self, slots: Sequence[_Slots]) -> bool:
        """The very same objects under the same names."""
        same = map(is_, chain.from_iterable(map(_values, slots)), self._values)
        return list(map(tuple, slots)) == self._keys and all(same)

    def keeper(self, since_call: int) -> Callable[[], None]:
        """Puts what others changed after that call back to what it is now."""
        slots = self._placed(self._slots())
        changed = [(slots.get(place, {}), name) for (place, name), call in self._changed.items() if call > since_call]
        present = [(where, name, where[name]) for where, name in changed if name in where]
        values = [value.clone() if isinstance(value, torch.Tensor) else None for _, _, value in present]

        def put_back() -> None:
            for (where, name, value), copy in zip(present, values, strict=True):
                where[name] = value
                if copy is not None:
                    value.copy_(copy)

        return torch.no_grad()(put_back)

    def _slots(self) -> list[_Slots]:
        return [*self._registries, *self._optimizer.param_groups]


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _differs(now: Any, seen: Any, version: int) -> bool:
    """Another value than was seen at a version."""
    if isinstance(now, torch.Tensor):
        return now is not seen or _version(now) != version
    return now is not seen and bool(now != seen)
