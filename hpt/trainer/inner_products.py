"""All inner products of a cycle's directions, from few passes over the weights.

With d the displacement and E_mu the averages before this cycle, every product of the new averages
E'_mu = mu E_mu + (1 - mu) d follows from those of (d, E_mu ..., theta):

    <d, E'_i> = mu_i <d, E_i> + (1 - mu_i) <d, d>        <E'_i, E'_j> likewise, in both arguments

so one Gram matrix a chunk of parameters is all that is computed. Small parameters of a group are joined into chunks,
because their products cost mostly the calls; a large one is a chunk of its own and is never copied.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hpt.learned.facts import FloatArray

CHUNK_NUMBERS = 2**15
"""Numbers in a chunk of several parameters: bounds the temporaries to an eighth of a megabyte a row of floats."""


def chunks_of(sizes: Sequence[int], kinds: Sequence[object]) -> list[list[int]]:
    """Places of neighbouring parameters that can be joined: of one kind, with few numbers in all.

    Args:
        sizes: numbers in each parameter.
        kinds: what must agree in a chunk: group, devices, dtypes.
    """
    chunks: list[list[int]] = []
    total, last = 0, object()
    for place, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        if kind != last or total + size > CHUNK_NUMBERS:
            chunks.append([])
            total = 0
        chunks[-1].append(place)
        total, last = total + size, kind
    return chunks


def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """One row of numbers; a single tensor is only seen differently, not copied."""
    return tensors[0].reshape(-1) if len(tensors) == 1 else torch.cat([one.reshape(-1) for one in tensors])


def dots(tensors: Sequence[torch.Tensor], other: torch.Tensor) -> torch.Tensor:
    """Inner product of each tensor with the other, (n,)."""
    flat = other.reshape(-1)
    return torch.stack([torch.dot(tensor.reshape(-1).to(flat.dtype), flat) for tensor in tensors])


def gram_of(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Inner products (m, m) of m rows; large rows are read pair by pair instead of being copied side by side."""
    if rows[0].numel() <= CHUNK_NUMBERS:
        matrix = torch.stack(list(rows))
        return matrix @ matrix.T
    return torch.stack([dots(rows, row) for row in rows])


def after_update(grams: FloatArray, scales: Sequence[float]) -> FloatArray:
    """Products (G, 1 + S, 1 + S) of d and the new averages, from (G, 2 + S, 2 + S) of d, the old ones and the weights.

    Where averages are stored in half precision, what their rounding changes is left out.
    """
    size = 1 + len(scales)
    mix = np.diag([1.0, *scales])
    mix[1:, 0] = 1.0 - np.asarray(scales)
    return mix @ grams[:, :size, :size] @ mix.T
