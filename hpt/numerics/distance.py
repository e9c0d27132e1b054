"""How far weights have come from earlier ones, and how to go a part of that way back."""

from collections.abc import Sequence

import torch

from hpt.numerics.formats import compute_dtype

PIECE_NUMBERS = 2**18  # of a difference that only its norm is wanted of: a megabyte at a time


@torch.no_grad()
def moved(parameters: Sequence[torch.Tensor], before: Sequence[torch.Tensor]) -> float:
    """|weights - earlier weights|, over all tensors; the earlier ones may lie elsewhere, in another format."""
    norms: list[torch.Tensor] = []
    for parameter, earlier in zip(parameters, before, strict=True):
        pieces = (tensor.detach().reshape(-1).split(PIECE_NUMBERS) for tensor in (parameter, earlier))
        for mine, other in zip(*pieces, strict=True):
            wide = mine.to(compute_dtype(mine.dtype))
            norms.append(torch.linalg.vector_norm(wide - other.to(wide.device, wide.dtype)))
    device = norms[0].device  # one transfer, also where the parameters lie on several devices
    return float(torch.linalg.vector_norm(torch.stack([norm.to(device) for norm in norms]).double()))


@torch.no_grad()
def shorten(parameters: Sequence[torch.Tensor], before: Sequence[torch.Tensor], ratio: float) -> None:
    """Leave `ratio` of the way from the earlier weights to the present ones, in place."""
    for parameter, earlier in zip(parameters, before, strict=True):
        parameter.data.lerp_(earlier.to(parameter.device, parameter.dtype), 1.0 - ratio)
