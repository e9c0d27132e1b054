"""Operations on lists of tensors in few kernels. Torch exports the foreach family only under private names."""

from collections.abc import Sequence

import torch


def norms_of(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Euclidean norm of each tensor, as 0-d tensors on the tensors' own devices."""
    return list(torch._foreach_norm(list(tensors)))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def scale_(tensors: Sequence[torch.Tensor], factor: float) -> None:
    """Multiply every tensor by `factor`, in place."""
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
