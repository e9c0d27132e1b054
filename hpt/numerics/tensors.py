"""Operations on lists of tensors in few kernels. Torch exports the foreach family only under private names."""

from collections.abc import Sequence

import torch


def norms_of(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Euclidean norm of each tensor, as 0-d tensors on the tensors' own devices."""
    return list(torch._foreach_norm(list(tensors)))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def scale_(tensors: Sequence[torch.Tensor], factor: float) -> None:
    """Multiply every tensor by `factor`, in place."""
    torch._foreach_mul_(list(tensors), factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
