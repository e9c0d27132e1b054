"""A byte-level GPT so small that hundreds of its steps take a second."""

from pathlib import Path

import torch

from hpt.workloads.byte_gpt import ByteGPT, ByteGPTSize


def factory(*, seed: int, data: Path | None, device: torch.device) -> ByteGPT:
    """Factory for `--workload references.small_gpt:factory`."""
    size = ByteGPTSize(dim=32, layers=1, heads=2, context=16, batch_size=4)
    return ByteGPT(size, seed=seed, data=data, device=device)
