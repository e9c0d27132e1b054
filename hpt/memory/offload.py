"""Memory given up for a while: the values wait on the host, pinned for a GPU, and come back to the same tensors.

The tensor objects stay, so whoever holds them notices nothing; only their storage is emptied and refilled
(its address may change). Copies in both directions are queued asynchronously on CUDA. On a machine without a
GPU the values wait in other host memory, which saves nothing but does the same.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import torch

from hpt.memory.cleanup import free_idle

MIN_BYTES = 4096  # step counters and the like stay


class Offload:
    """Takes tensors away and brings them back; the host memory is kept for the next time."""

    def __init__(self) -> None:
        self._places: dict[tuple[torch.device, int], list[torch.Tensor]] = {}

    @property
    def nbytes(self) -> int:
        """Host memory held."""
        return sum(place.nbytes for places in self._places.values() for place in places)

    @contextmanager
    def away(self, tensors: Iterable[torch.Tensor]) -> Generator[None]:
        """Inside, the tensors have no memory and must not be touched; afterwards they are as they were.

        Raises:
            torch.OutOfMemoryError: there was no memory to come back to, even after freeing what was idle.
        """
        spare = {key: list(places) for key, places in self._places.items()}
        bodies = [_bytes_of(storage) for storage in _storages(tensors)]
        kept = [(body, self._place_for(body, spare)) for body in bodies]
        for body, place in kept:
            place.copy_(body, non_blocking=True)
        wait_for({body.device for body in bodies})
        try:
            for body in bodies:
                body.untyped_storage().resize_(0)
            yield
        finally:
            for body, place in kept:
                _grow(body.untyped_storage(), place.nbytes, body.device)
                body.copy_(place, non_blocking=True)

    def _place_for(self, body: torch.Tensor, spare: dict[tuple[torch.device, int], list[torch.Tensor]]) -> torch.Tensor:
        key = (body.device, body.nbytes)
        if spare.get(key):
            return spare[key].pop()
        place = torch.empty(body.nbytes, dtype=torch.uint8, pin_memory=body.device.type == "cuda")
        self._places.setdefault(key, []).append(place)
        return place


def _storages(tensors: Iterable[torch.Tensor]) -> list[torch.UntypedStorage]:
    """Each storage once, of those large enough that can be emptied."""
    found = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in tensors if one.layout == torch.strided}
    return [one for one in found.values() if one.nbytes() >= MIN_BYTES and one.resizable()]


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)  # pyright: ignore[reportArgumentType]


def wait_for(devices: Iterable[torch.device]) -> None:
    """Return when what was queued on these devices' streams is done, copies to the host included."""
    for device in devices:
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()


def _grow(storage: torch.UntypedStorage, num_bytes: int, device: torch.device) -> None:
    try:
        storage.resize_(num_bytes)
    except torch.OutOfMemoryError:
        free_idle(device, collect=True)
        storage.resize_(num_bytes)
