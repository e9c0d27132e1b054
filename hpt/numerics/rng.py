"""Seeds for named purposes, and the state of torch's global generators, which is only ever saved and restored.

A seed is a hash of (seed, name) through numpy's SeedSequence (O'Neill's seed_seq mixing), hence the same in every
process, and drawing more for one purpose never shifts another.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch


def derive_seed(seed: int, name: str) -> int:
    """Seed in [0, 2^63) for the purpose `name`; `seed` is any integer >= 0."""
    words = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def torch_rng_state() -> dict[str, torch.Tensor]:
    """State of torch's global generators: "cpu", and "cuda:0" and so on for every device in use."""
    states = {"cpu": torch.get_rng_state()}
    for index in range(_num_cuda()):
        states[f"cuda:{index}"] = torch.cuda.get_rng_state(index)
    return states


def set_torch_rng_state(state: Mapping[str, torch.Tensor]) -> None:
    """Inverse of `torch_rng_state`; states of devices that are absent here are left out."""
    torch.set_rng_state(state["cpu"])
    for index in range(_num_cuda()):
        if f"cuda:{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda:{index}"], index)


@cache
def _num_cuda() -> int:
    """Devices in this machine; to ask for them takes as long as to copy the host's state."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
