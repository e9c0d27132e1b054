"""In which floating-point format copies of weights are stored, and in which they are computed with."""

import torch


def storage_dtype(dtype: torch.dtype, *, half: bool) -> torch.dtype:
    """Averages of half-precision weights need full precision: small displacements would round away."""
    if half:
        return torch.bfloat16
    return torch.float32 if dtype in {torch.bfloat16, torch.float16} else dtype


def compute_dtype(stored: torch.dtype) -> torch.dtype:
    """Sums are made in single precision at least."""
    return torch.float32 if stored in {torch.bfloat16, torch.float16} else stored
