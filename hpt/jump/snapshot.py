"""Keeping the training state at one moment, and putting it back exactly, in place.

A jump is undone, and a diverged stretch of steps rolled back, by copying saved values into the very tensors
they came from: no parameter, buffer or optimizer state moves in memory, so that compiled graphs, tied weights
and anything else that holds a reference stay valid. What was created since (lazily made optimizer state, a
group's initial_lr) is removed, what was removed is put back. Gradients are not part of the state: after a
restore the next update begins with zero_grad.

Cost: one copy of the trained weights, the buffers and the optimizer state. `reuse` hands the memory of the
snapshot before to the next one, so that a snapshot each cycle allocates once.
"""

import copy
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch

from hpt.jump.copies import Copies, copy_all
from hpt.jump.others import OthersChanges
from hpt.jump.parameters import trained_groups
from hpt.numerics.shards import local
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.stored import tensors_in


class HasState(Protocol):
    """Anything with a state dictionary: a learning-rate scheduler, a GradScaler."""

    def state_dict(self) -> dict[str, Any]:
        """State as plain values and tensors."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Inverse of `state_dict`."""
        ...


class Snapshot:
    """Training state at one moment; made by `Snapshot.take`."""

    def __init__(
        self,
        copies: Copies,
        trained: list[torch.nn.Parameter],
        buffers: "_BufferSlots",
        optimizers: "list[OptimizerState]",
        schedules: list[tuple[HasState, dict[str, Any]]],
        others: OthersChanges | None,
    ) -> None:
        self._copies = copies
        self._trained = trained
        self._buffers = buffers
        self._optimizers = optimizers
        self._schedules = schedules
        self._others, self._taken_in = others, 0 if others is None else others.num_calls

    @classmethod
    def take(
        cls,
        model: torch.nn.Module,
        optimizer: InnerOptimizer,
        schedules: Iterable[HasState] = (),
        *,
        beside: Sequence[torch.nn.Module] = (),
        reuse: "Snapshot | None" = None,
        placement: str = "device",
        others: OthersChanges | None = None,
    ) -> "Snapshot":
        """Copy everything that training with these optimizers changes: tied weights once, frozen parameters not at all.

        Args:
            model: all its buffers are kept.
            beside: modules outside the model whose buffers a forward pass changes, a criterion with a batch norm.
            optimizer: its parameters with requires_grad, its state and the values of its groups are kept, attributes
                outside them are not.
            schedules: of the learning rates and of the loss scale, kept through their state dictionaries.
            reuse: an earlier snapshot whose memory this one takes over; it cannot be restored afterwards.
            placement: "device" (beside each tensor) or "cpu" (host memory, pinned for tensors on CUDA).
            others: says what is not to be restored, because others changed it meanwhile.
        """
        buffers = _BufferSlots(model, beside)
        states = [OptimizerState(one) for one in optimizer.each]
        trained = [one for group in trained_groups(optimizer) for one in group]
        tensors = [*trained, *buffers.tensors(), *(one for state in states for one in state.tensors())]
        spare = {} if reuse is None else reuse._copies.hand_over()  # noqa: SLF001 (its own class)
        copies = Copies(tensors, placement, spare)
        copies.save()
        kept = [(one, copy.deepcopy(one.state_dict())) for one in schedules]
        return cls(copies, trained, buffers, states, kept, others)

    @property
    def nbytes(self) -> int:
        """Memory held by the copies, bytes."""
        return self._copies.nbytes

    @property
    def is_whole(self) -> bool:
        """It can be restored: its memory was not handed to a later one."""
        return self._copies.is_whole

    def kept(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        """The copy of one parameter, of a DTensor the piece that lies here; not to be changed."""
        return self._copies.by_tensor[id(parameter)]

    @torch.no_grad()
    def renew_weights(self) -> None:
        """Keep the trained weights as they are now: the caller may have changed them since."""
        copy_all([self.kept(one) for one in self._trained], [*map(local, self._trained)])

    def restore(self) -> None:
        """Put everything back as it was, bit for bit, but for what others changed since; can be repeated."""
        assert self._copies.is_whole, "the memory of this snapshot was handed to a later one"
        keep = None if self._others is None else self._others.keeper(self._taken_in)
        self._buffers.put_back()
        for one, kept in self._schedules:
            one.load_state_dict(copy.deepcopy(kept))
        for state in self._optimizers:
            state.put_back()  # after the schedules: the groups say what the learning rate was
        self._copies.restore()
        if keep is not None:
            keep()

    @contextmanager
    def exchanged(self) -> Generator[None]:
        """Inside, the model has the weights and buffers of the snapshot, and the snapshot has the model's."""
        assert self._copies.is_whole, "the memory of this snapshot was handed to a later one"
        kept = [*self._trained, *self._buffers.tensors()]
        slots = self._buffers.present()
        self._buffers.put_back()
        self._copies.exchange(kept)
        try:
            yield
        finally:
            self._copies.exchange(kept)
            slots.put_back()


class BufferGuard:
    """Buffers as they were before a forward pass, for when it must leave nothing behind.

    All are kept, whole numbers included (a batch norm counts its batches); without any it costs nothing.

    Args:
        model: all of its buffers.
        beside: modules outside the model, as far as they are in training mode.
    """

    def __init__(self, model: torch.nn.Module, beside: Sequence[torch.nn.Module] = ()) -> None:
        self._modules = model, beside
        self._slots = _BufferSlots(model, beside)
        self._copies = Copies([], "device", {})
        self._looks = 2  # at the modules anew: a first forward may register buffers, or build layers that have some

    @property
    def nbytes(self) -> int:
        """Memory held by the copies, bytes."""
        return self._copies.nbytes

    def look_again(self) -> None:
        """Find the buffers anew at the next `save`; once a cycle."""
        self._looks = max(self._looks, 1)

    def save(self) -> None:
        """Keep the buffers as they are now."""
        if self._looks:
            self._looks -= 1
            self._slots = _BufferSlots(*self._modules)
        elif self._slots:
            self._slots.refresh()
        if not self._slots:
            return
        tensors = self._slots.tensors()
        if not self._copies.covers(tensors):
            self._copies = Copies(tensors, "device", self._copies.hand_over())
        self._copies.save()

    def restore(self) -> None:
        """Put the buffers back as they were at the last `save`; those registered since stay."""
        self._slots.put_back()
        self._copies.restore()


class _BufferSlots:
    """Which tensor sits in each buffer of the modules: a forward may change a buffer, or replace it."""

    def __init__(self, model: torch.nn.Module, beside: Sequence[torch.nn.Module]) -> None:
        further = (one for outer in beside for one in outer.modules() if one.training)
        # Module.buffers() hides the slots; through their dictionaries a tensor put in later is seen.
        registries = (one._buffers for one in (*model.modules(), *further))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._registries = list({id(one): one for one in registries if one}.values())
        self.refresh()

    def __bool__(self) -> bool:
        return bool(self._registries)

    def refresh(self) -> None:
        self._held = [dict(registry) for registry in self._registries]

    def present(self) -> "_BufferSlots":
        """The same slots with what is in them now."""
        slots = copy.copy(self)
        slots.refresh()
        return slots

    def tensors(self) -> list[torch.Tensor]:
        return [one for held in self._held for one in held.values() if one is not None]

    def put_back(self) -> None:
        for registry, held in zip(self._registries, self._held, strict=True):
            registry.update(held)


class OptimizerState:
    """Structure and plain values of an optimizer's state and groups; the tensors in it by reference."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._states = [
            [(key, entry, _frozen(entry)) for key, entry in state.items()] for state in _states_of(optimizer)
        ]
        groups = ({key: one for key, one in group.items() if key != "params"} for group in optimizer.param_groups)
        self._groups = [_frozen(group) for group in groups]

    def tensors(self) -> list[torch.Tensor]:
        """All of them."""
        frozen = (one for entries in self._states for _, _, one in entries)
        return list(tensors_in([*frozen, *self._groups]))

    def put_back(self) -> None:
        """The structure as it was; what is in the tensors is left to others."""
        # By position: Optimizer.load_state_dict replaces these dictionaries. Groups added since stay as they are.
        for state, entries in zip(_states_of(self._optimizer), self._states, strict=False):
            state.clear()
            state.update({key: _refilled(entry, _frozen(frozen)) for key, entry, frozen in entries})
        for group, frozen in zip(self._optimizer.param_groups, self._groups, strict=False):
            _refilled(group, {"params": group["params"], **_frozen(frozen)})


def _states_of(optimizer: object) -> list[dict[Any, Any]]:
    """The state dictionaries themselves: an optimizer over others may show a merged copy of theirs, or none."""
    found: dict[int, dict[Any, Any]] = {}
    todo, seen = [optimizer], set[int]()
    while todo:
        attributes = getattr(todo[-1], "__dict__", {})
        seen.add(id(todo.pop()))
        if isinstance(attributes.get("state"), dict):
            found[id(attributes["state"])] = attributes["state"]
        for name, held in attributes.items():
            inner = held.values() if isinstance(held, dict) else held if isinstance(held, (list, tuple)) else (held,)
            if name != "state":
                todo += [one for one in inner if hasattr(one, "param_groups") and id(one) not in seen]
    return list(found.values()) or [cast("torch.optim.Optimizer", optimizer).state]


def _frozen(value: Any) -> Any:
    """A copy of the structure and plain values, with the tensors themselves in it."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, dict):
        entries = copy.copy(cast("dict[Any, Any]", value))
        entries.update({key: _frozen(one) for key, one in entries.items()})
        return entries
    if type(value) in (list, tuple):
        return type(value)(_frozen(one) for one in value)
    return copy.deepcopy(value)


def _refilled(entry: Any, contents: Any) -> Any:
    """The same dictionary with other contents; the contents themselves where it is no dictionary."""
    if not isinstance(entry, dict):
        return contents
    kept = cast("dict[Any, Any]", entry)
    kept.clear()
    kept.update(contents)
    return kept
