"""All inner products of a cycle's directions, from one pass over the weights.

With d the displacement, E the trend before this cycle and mu its decay, every product of the new trend
E' = mu E + (1 - mu) d follows from those of (d, E, theta):

    <d, E'> = mu <d, E> + (1 - mu) <d, d>        <E', E'> likewise, in both arguments

so one Gram matrix a chunk of parameters is all that is computed. Small parameters of a group are joined into chunks,
because their products cost mostly the calls; a large one is a chunk of its own and is never copied.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hpt.jump.stats import FloatArray

CHUNK_NUMBERS = {"cpu": 2**15, "cuda": 2**22}
"""Numbers in a chunk of several parameters: bounds the temporaries to an eighth of a megabyte a row of floats on the
host, where memory is slow, and to sixteen on a GPU, where calls are. 75 parameters with ten million numbers in chunks
of the host's size took an H100 37 ms a cycle, nearly all of it calls."""


def chunks_of(sizes: Sequence[int], kinds: Sequence[object], limit: int) -> list[list[int]]:
    """Places of neighbouring parameters that can be joined: of one kind, with few numbers in all.

    Args:
        sizes: numbers in each parameter.
        kinds: what must agree in a chunk: group, devices, dtypes.
        limit: numbers in a chunk of several.
    """
    chunks: list[list[int]] = []
    total, last = 0, object()
    for place, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        if kind != last or total + size > limit:
            chunks.append([])
            total = 0
        chunks[-1].append(place)
        total, last = total + size, kind
    return chunks


def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """One row of numbers; a single tensor is only seen differently, not copied."""
    return tensors[0].reshape(-1) if len(tensors) == 1 else torch.cat([one.reshape(-1) for one in tensors])


def gram_of(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Inner products (m, m) of m rows; large rows are read pair by pair instead of being copied side by side."""
    if rows[0].numel() <= CHUNK_NUMBERS["cpu"]:
        matrix = torch.stack(list(rows))
        return matrix @ matrix.T
    return torch.stack([torch.stack([torch.dot(one, other) for one in rows]) for other in rows])


def after_update(grams: FloatArray, scale: float) -> FloatArray:
    """Products (G, 2, 2) of d and the new trend, from (G, 3, 3) of d, the old trend and the weights.

    Where the trend is stored in half precision, what its rounding changes is left out.
    """
    mix = np.array([[1.0, 0.0], [1.0 - scale, scale]])
    return mix @ grams[:, :2, :2] @ mix.T


def to_host(grams: Sequence[torch.Tensor]) -> FloatArray:
    """Matrices (m, m) as (n, m, m) on the host, with one transfer a device and number format."""
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, one in enumerate(grams):
        kinds.setdefault((one.device, one.dtype), []).append(place)
    result = np.zeros((len(grams), *grams[0].shape))
    for places in kinds.values():
        result[places] = torch.stack([grams[place] for place in places]).cpu().to(torch.float64).numpy()
    return result
