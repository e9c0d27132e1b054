"""Copies of tensors in memory that is allocated once and handed on, and putting them back in place."""

from collections.abc import Iterable
from operator import is_

import torch

from hpt.numerics.shards import is_dtensor, local

copy_all = torch._foreach_copy_  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
_Layout = tuple[object, ...]
Spare = dict[_Layout, list[torch.Tensor]]
"""Memory that is free, by layout."""


class Copies:
    """Copies of live tensors, shared memory once; all of a kind in one foreach call, since most are small.

    Of a DTensor the piece that lies here is copied.

    Args:
        live: what to copy; `save` does it.
        placement: "device" (beside each tensor) or "cpu" (host memory, pinned for tensors on CUDA).
        spare: memory to use before any is allocated, by layout.

    Attributes:
        by_tensor: the copy of a live tensor, by its identity.
        is_whole: its memory was not handed over.
    """

    def __init__(self, live: Iterable[torch.Tensor], placement: str, spare: Spare) -> None:
        self._given = list(live)
        self._shapes = [one.shape for one in self._given]
        unique = {_memory_of(one): _distinct(one) for one in self._given}
        self.is_whole = True
        self._places: list[tuple[_Layout, torch.Tensor]] = []
        self._kinds: dict[_Layout, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        self._sparse = [one for one in unique.values() if one.layout != torch.strided]
        self._sparse_copies: list[torch.Tensor] = []
        of_memory = {
            memory: self._place_for(one, placement, spare)
            for memory, one in unique.items()
            if one.layout == torch.strided
        }
        named = ((id(one), _memory_of(one)) for one in self._given)
        self.by_tensor = {identity: of_memory[memory] for identity, memory in named if memory in of_memory}

    def _place_for(self, live: torch.Tensor, placement: str, spare: Spare) -> torch.Tensor:
        here = local(live)
        layout = (placement, here.device, here.dtype, here.shape, here.stride())
        fitting = spare.get(layout)
        place = fitting.pop() if fitting else _room_for(here, placement)
        self._places.append((layout, place))
        sources, places = self._kinds.setdefault((live.device, live.dtype), ([], []))
        sources.append(live)
        places.append(place)
        return place

    @property
    def nbytes(self) -> int:
        """Memory held by the copies, bytes."""
        strided = sum(one.nbytes for _, one in self._places)
        return strided + sum(_sparse_bytes(one) for one in self._sparse_copies)

    def covers(self, tensors: list[torch.Tensor]) -> bool:
        """These are copies of exactly these tensors, in their present shapes."""
        is_same = len(tensors) == len(self._given) and all(map(is_, tensors, self._given))
        return is_same and [one.shape for one in tensors] == self._shapes

    @torch.no_grad()
    def save(self) -> None:
        """Copy what the live tensors hold now."""
        for live, places in self._kinds.values():
            copy_all(places, [*map(local, live)])
        self._sparse_copies = [one.clone() for one in self._sparse]

    @torch.no_grad()
    def restore(self) -> None:
        """Put it back."""
        for one, shape in zip(self._given, self._shapes, strict=True):
            if one.shape != shape and not one.requires_grad:
                one.resize_(shape)  # a quantisation observer gives its buffers their size when it first sees data
        for each, places in self._kinds.values():
            live = [*map(local, each)]
            fits = [place for place, one in enumerate(live) if one.shape == places[place].shape]  # else it was replaced
            if fits:
                copy_all([live[place] for place in fits], [places[place] for place in fits])
        for one, kept in zip(self._sparse, self._sparse_copies, strict=True):
            one.copy_(kept)

    @torch.no_grad()
    def exchange(self, tensors: Iterable[torch.Tensor]) -> None:
        """Swap the contents of some of the live tensors with their copies, memory that is shared once."""
        places = ((one, self.by_tensor.get(id(one))) for one in tensors)
        pairs = {id(place): (_distinct(local(one)), place) for one, place in places if place is not None}
        for live, place in pairs.values():
            if live.shape == place.shape:  # else it was replaced
                now = live.clone()
                live.copy_(place)
                place.copy_(now)

    def hand_over(self) -> Spare:
        """Give the memory away, by layout."""
        spare: Spare = {}
        for layout, place in self._places:
            spare.setdefault(layout, []).append(place)
        self.__init__([], "device", {})
        self.is_whole = False
        return spare


def _memory_of(tensor: torch.Tensor) -> _Layout:
    here = local(tensor)
    if here.layout != torch.strided or here.numel() == 0:
        return (id(tensor),)
    return (here.device, here.data_ptr(), here.dtype, here.shape, here.stride())


def _distinct(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without the repeats of `expand`, into which nothing can be copied."""
    if tensor.layout != torch.strided or is_dtensor(tensor):
        return tensor
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and stride == 0:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _room_for(live: torch.Tensor, placement: str) -> torch.Tensor:
    if placement == "device":
        return torch.empty_like(live, requires_grad=False)
    return torch.empty_like(live, device="cpu", pin_memory=live.device.type == "cuda", requires_grad=False)


def _sparse_bytes(tensor: torch.Tensor) -> int:
    if tensor.layout != torch.sparse_coo:
        return tensor.values().nbytes
    return tensor._values().nbytes + tensor._indices().nbytes  # noqa: SLF001 (values() refuses what is not coalesced)
