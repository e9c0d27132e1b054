"""Arithmetic on lists of tensors: formats of stored copies, whole lists in few kernels, distances between weights.

Torch exports the foreach family, which does the second, only under private names.
"""

from collections.abc import Sequence

import torch

PIECE_NUMBERS = 2**18  # of a difference that only its norm is wanted of: a megabyte at a time


def storage_dtype(dtype: torch.dtype, *, half: bool) -> torch.dtype:
    """Averages of half-precision weights need full precision: small displacements would round away."""
    if half:
        return torch.bfloat16
    return torch.float32 if dtype in {torch.bfloat16, torch.float16} else dtype


def compute_dtype(stored: torch.dtype) -> torch.dtype:
    """Sums are made in single precision at least."""
    return torch.float32 if stored in {torch.bfloat16, torch.float16} else stored


def real_view(parameter: torch.Tensor) -> torch.Tensor:
    """The same numbers in the same memory without their history; complex ones as pairs, (..., 2)."""
    return torch.view_as_real(parameter.detach()) if parameter.is_complex() else parameter.detach()


def norms_of(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Euclidean norm of each tensor, as 0-d tensors on the tensors' own devices."""
    return list(torch._foreach_norm(list(tensors)))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def scale_(tensors: Sequence[torch.Tensor], factor: float | torch.Tensor) -> None:
    """Multiply every tensor by `factor`, a number or a 0-d tensor on their device, in place."""
    torch._foreach_mul_(list(tensors), factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def add_(tensors: Sequence[torch.Tensor], others: Sequence[torch.Tensor], factor: float) -> None:
    """Add factor x other to every tensor, in place."""
    torch._foreach_add_(list(tensors), list(others), alpha=factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def lerp_(tensors: Sequence[torch.Tensor], ends: Sequence[torch.Tensor], weight: float) -> None:
    """Move every tensor by `weight` of its way to its end, in place."""
    torch._foreach_lerp_(list(tensors), list(ends), weight)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def copy_(tensors: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    """Overwrite every tensor by its source, across devices and formats if need be; into pinned memory it is queued."""
    torch._foreach_copy_(list(tensors), list(sources), non_blocking=True)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


@torch.no_grad()
def moved(parameters: Sequence[torch.Tensor], before: Sequence[torch.Tensor]) -> float:
    """|weights - earlier weights|, over all tensors, if any; the earlier ones may lie elsewhere, in another format."""
    norms: list[torch.Tensor] = []
    for parameter, earlier in zip(parameters, before, strict=True):
        pieces = (tensor.detach().reshape(-1).split(PIECE_NUMBERS) for tensor in (parameter, earlier))
        for mine, other in zip(*pieces, strict=True):
            wide = mine.to(compute_dtype(mine.dtype))
            norms.append(torch.linalg.vector_norm(wide - other.to(wide.device, wide.dtype)))
    if not norms:
        return 0.0
    device = norms[0].device  # one transfer, also where the parameters lie on several devices
    return float(torch.linalg.vector_norm(torch.stack([norm.to(device) for norm in norms]).double()))


@torch.no_grad()
def shorten(parameters: Sequence[torch.Tensor], before: Sequence[torch.Tensor], ratio: float) -> None:
    """Leave `ratio` of the way from the earlier weights to the present ones, in place."""
    for parameter, earlier in zip(parameters, before, strict=True):
        parameter.data.lerp_(earlier.to(parameter.device, parameter.dtype), 1.0 - ratio)
