"""Seeds for named purposes, and the state of other people's random streams, which is only ever saved and restored.

A seed is a hash of (seed, name) through numpy's SeedSequence (O'Neill's seed_seq mixing), hence the same in every
process, and drawing more for one purpose never shifts another.
"""

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

RandomSource = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
"""A stream of its own, beside the global ones."""


def derive_seed(seed: int, name: str) -> int:
    """Seed in [0, 2^63) for the purpose `name`; `seed` is any integer >= 0."""
    words = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def torch_rng_state() -> dict[str, torch.Tensor]:
    """State of torch's global generators: "cpu", and "cuda:0" and so on for every device in use."""
    states = {"cpu": torch.default_generator.get_state()}
    for index in range(_num_cuda()):
        states[f"cuda:{index}"] = torch.cuda.get_rng_state(index)
    return states


def set_torch_rng_state(state: Mapping[str, torch.Tensor]) -> None:
    """Inverse of `torch_rng_state`; states of devices that are absent here are left out."""
    torch.set_rng_state(state["cpu"])
    for index in range(_num_cuda()):
        if f"cuda:{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda:{index}"], index)


def stream_states(sources: Sequence[RandomSource] = ()) -> dict[str, Any]:
    """State of the global streams of torch, Python and numpy, and of further ones."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 (kept, never drawn from)
    return {
        "torch": torch_rng_state(),
        "python": random.getstate(),
        "numpy": numpy_state,
        "sources": [_state_of(one) for one in sources],
    }


def set_stream_states(states: Mapping[str, Any], sources: Sequence[RandomSource] = ()) -> None:
    """Inverse of `stream_states`, with the same further streams."""
    set_torch_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    for source, state in zip(sources, states["sources"], strict=True):
        _set_state_of(source, state)


def _state_of(source: RandomSource) -> Any:
    if isinstance(source, torch.Generator):
        return source.get_state()
    if isinstance(source, np.random.Generator):
        return source.bit_generator.state
    return source.get_state(legacy=False) if isinstance(source, np.random.RandomState) else source.getstate()


def _set_state_of(source: RandomSource, state: Any) -> None:
    if isinstance(source, random.Random):
        source.setstate(state)
    elif isinstance(source, np.random.Generator):
        source.bit_generator.state = state
    else:
        source.set_state(state)


@cache
def _num_cuda() -> int:
    """Devices in this machine; to ask for them takes as long as to copy the host's state."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
