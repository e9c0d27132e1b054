"""Random streams: one per purpose, all from one seed, so that drawing more for one never shifts another.

A stream's seed is a hash of (seed, name) through numpy's SeedSequence (O'Neill's seed_seq mixing), hence
independent of the order in which streams are asked for and of the process. The global torch state is only
ever saved and restored.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def derive_seed(seed: int, name: str) -> int:
    """Seed in [0, 2^63) for the purpose `name`; `seed` is any integer >= 0."""
    words = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


class RngStreams:
    """Named numpy and torch (CPU) generators, made on first use."""

    def __init__(self, seed: int) -> None:
        assert seed >= 0, f"seed is {seed}, it must not be negative"
        self._seed = seed
        self._numpy: dict[str, np.random.Generator] = {}
        self._torch: dict[str, torch.Generator] = {}

    def numpy(self, name: str) -> np.random.Generator:
        """The numpy generator of this name, always the same object."""
        if name not in self._numpy:
            self._numpy[name] = np.random.Generator(np.random.PCG64(derive_seed(self._seed, f"numpy/{name}")))
        return self._numpy[name]

    def torch(self, name: str) -> torch.Generator:
        """The torch generator of this name, always the same object."""
        if name not in self._torch:
            self._torch[name] = torch.Generator().manual_seed(derive_seed(self._seed, f"torch/{name}"))
        return self._torch[name]

    def state_dict(self) -> dict[str, Any]:
        """Position of every stream made so far."""
        return {
            "numpy": {name: one.bit_generator.state for name, one in self._numpy.items()},
            "torch": {name: one.get_state() for name, one in self._torch.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; generators handed out before keep working, streams not in it start afresh."""
        for name in [*self._numpy, *state["numpy"]]:
            self.numpy(name).bit_generator.state = state["numpy"].get(
                name, self._fresh().numpy(name).bit_generator.state
            )
        for name in [*self._torch, *state["torch"]]:
            self.torch(name).set_state(state["torch"].get(name, self._fresh().torch(name).get_state()))

    def _fresh(self) -> "RngStreams":
        return RngStreams(self._seed)


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


def _num_cuda() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
