"""Weights that lie in pieces on several processes, torch's DTensors: each process works on the piece that it holds.

What is done number by number needs nothing else. Sums over all weights are added up over the processes, a piece that
several of them hold being counted in the first one only; what a function of the whole matrix gives is made in every
process from the gathered matrix, of which each keeps its own piece. In a tensor that is no DTensor all is itself.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt.numerics.tensors import scale_

FloatArray = NDArray[np.float64]
_PLACEMENTS = {"Shard", "Replicate"}
_WHOLE = {torch.Tensor, torch.nn.Parameter}


def is_dtensor(tensor: object) -> bool:
    """It is one piece of a tensor, of which other processes hold the rest or the same."""
    if type(tensor) in _WHOLE:
        return False
    module = sys.modules.get("torch.distributed.tensor")  # importing it takes a second, and is not ours to do
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers that lie in this process, in their own memory; a DTensor's without history.

    A DTensor has no address, and gives another object for the same memory each time.
    """
    if not is_dtensor(tensor):
        return tensor
    with torch.no_grad():
        return _as_dtensor(tensor).to_local()


def objection(tensor: torch.Tensor, num_processes: int) -> str:
    """Why jumps cannot move a DTensor, with what to do instead; "" if they can.

    Args:
        tensor: a weight or a state of it.
        num_processes: that train the model together.
    """
    mesh, placements = _as_dtensor(tensor).device_mesh, _as_dtensor(tensor).placements
    unknown = [repr(one) for one in placements if type(one).__name__ not in _PLACEMENTS]
    if unknown:
        return f"a DTensor placed by {unknown[0]}, of which jumps know Shard and Replicate; redistribute it to these"
    if mesh.size() != num_processes or mesh.get_coordinate() is None:
        return (
            f"a DTensor over {mesh.size()} processes, and {num_processes} train the model; "
            "give the mesh and process_group the same ones"
        )
    return ""


@dataclass(frozen=True, slots=True)
class Shards:
    """How processes that hold pieces of the weights come to numbers of the whole; by default this one holds all.

    Attributes:
        exist: other processes hold other pieces.
        is_first: of processes with the same whole tensor this is the one in which it counts.
        add: sum of a tensor over the processes, the same in each and on the tensor's device.
    """

    exist: bool = False
    is_first: bool = True
    add: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor

    def count(self, tensor: torch.Tensor) -> bool:
        """Sums take this process's piece of the tensor in: no process before it holds the same."""
        if not self.exist or not is_dtensor(tensor):
            return self.is_first
        mesh, placements = _as_dtensor(tensor).device_mesh, _as_dtensor(tensor).placements
        return not any(
            place for place, one in zip(mesh.get_coordinate(), placements, strict=True) if one.is_replicate()
        )

    def sum(self, values: FloatArray) -> FloatArray:
        """Numbers added up over the processes, in the shape they have."""
        if not self.exist:
            return values
        return np.asarray(self.add(torch.from_numpy(np.ascontiguousarray(values))).numpy(), dtype=np.float64)

    def norm(self, mine: float) -> float:
        """Norm of everything from that of the pieces that count here."""
        return math.sqrt(float(self.sum(np.array([mine * mine]))[0])) if self.exist else mine

    def norms(self, pieces: Sequence[torch.Tensor], of: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Norms of whole tensors as 0-d tensors, with one sum over the processes for all of them.

        Args:
            pieces: what lies here of each.
            of: tensors that are placed like them.
        """
        mine = [torch.linalg.vector_norm(one) for one in pieces]
        return list(self._over_processes(mine, of).sqrt()) if self.exist and mine else mine

    def total_norm(self, norms: torch.Tensor, of: Sequence[torch.Tensor]) -> torch.Tensor:
        """Norm of several tensors together from the norms (n,) of their pieces; it stays on the device."""
        if not self.exist:
            return torch.linalg.vector_norm(norms)
        return self._over_processes(list(norms), of).sum().sqrt().to(norms.dtype)

    def _over_processes(self, norms: Sequence[torch.Tensor], of: Sequence[torch.Tensor]) -> torch.Tensor:
        device = norms[0].device
        squares = [
            one.to(device, torch.float64).square() * self.count(like) for one, like in zip(norms, of, strict=True)
        ]
        return self.add(torch.stack(squares))


NO_SHARDS = Shards()


def whole_shape(piece: torch.Tensor, like: torch.Tensor) -> tuple[int, ...]:
    """Shape of the tensor that `piece` is of, which lies as `like` does, whose complex numbers are pairs in it."""
    if not is_dtensor(like):
        return tuple(piece.shape)
    return (*like.shape, 2) if like.is_complex() else tuple(like.shape)


def placed(piece: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The DTensor that the pieces of all processes are, as `like` is placed; of a plain one the piece itself."""
    if not is_dtensor(like):
        return piece
    shape = torch.Size(whole_shape(piece, like))
    stride = torch.empty(shape, device="meta").stride()
    mesh, placements = _as_dtensor(like).device_mesh, _as_dtensor(like).placements
    return _kinds().DTensor.from_local(piece, mesh, placements, shape=shape, stride=stride)


def own_piece(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of a tensor that every process has, the part that lies here where it is placed as `like` is."""
    if not is_dtensor(like):
        return whole
    mesh, placements = _as_dtensor(like).device_mesh, _as_dtensor(like).placements
    everywhere = _kinds().DTensor.from_local(whole, mesh, [_kinds().Replicate()] * mesh.ndim)
    return everywhere.redistribute(placements=placements).to_local()


def by_whole(function: Callable[[torch.Tensor], torch.Tensor], piece: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Own piece of what a function gives for the whole tensor, gathered once; it has the tensor's shape."""
    if not is_dtensor(like):
        return function(piece)
    return own_piece(function(_as_dtensor(placed(piece, like)).full_tensor()), like)


@torch.no_grad()
def clip_(gradients: Sequence[torch.Tensor], max_norm: float, total: torch.Tensor) -> None:
    """Scale gradients, if any, of norm `total` together, to at most `max_norm`, where they lie; of pieces `local`.

    The numbers are those of `torch.nn.utils.clip_grads_with_norm_`, which sorts gradients by device and format first.
    """
    if not gradients:
        return
    factor = torch.clamp(max_norm / (total + 1e-6), max=1.0)
    if all(one.device == factor.device for one in gradients):
        scale_(gradients, factor)
        return
    for one in gradients:
        one.mul_(factor.to(one.device))


def _kinds() -> Any:
    return sys.modules["torch.distributed.tensor"]


def _as_dtensor(tensor: torch.Tensor) -> Any:
    """The same, with attributes that only a DTensor has."""
    return tensor
