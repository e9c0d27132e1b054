"""Seeds depend on seed and name only, and global generators can be put back where they were."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hpt.numerics.rng import derive_seed, set_stream_states, set_torch_rng_state, stream_states, torch_rng_state


def test_seeds_differ_by_name_and_by_seed() -> None:
    """A thousand (seed, name) pairs give a thousand seeds, all acceptable to torch."""
    seeds = {derive_seed(seed, f"name{number}") for seed in range(10) for number in range(100)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_is_the_same_in_every_process() -> None:
    """No salted hash is involved: the value is numpy's SeedSequence over the seed and the name's bytes."""
    expected = int(np.random.SeedSequence([7, 97, 98]).generate_state(1, np.uint64)[0]) >> 1
    assert derive_seed(7, "ab") == expected


def test_global_torch_state_is_restored() -> None:
    """After restoring, torch's global generator repeats its draws."""
    state = torch_rng_state()
    first = torch.rand(5)
    set_torch_rng_state(state)
    assert torch.equal(first, torch.rand(5))
    assert set(state) >= {"cpu"}


@pytest.mark.cuda
def test_global_cuda_state_is_restored() -> None:
    """The same on a GPU."""
    state = torch_rng_state()
    first = torch.rand(5, device="cuda")
    set_torch_rng_state(state)
    assert torch.equal(first, torch.rand(5, device="cuda"))


STREAMS: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "Python": (None, lambda _: random.random()),
    "numpy": (None, lambda _: np.random.random()),  # noqa: NPY002
    "torch": (None, lambda _: torch.rand(()).item()),
    "a torch generator": (torch.Generator(), lambda one: torch.rand((), generator=one).item()),
    "a numpy generator": (np.random.default_rng(0), lambda one: one.random()),
    "another bit generator": (np.random.Generator(np.random.Philox(0)), lambda one: one.integers(1 << 32)),
    "an old numpy stream": (np.random.RandomState(0), lambda one: one.standard_normal()),
    "a Python stream": (random.Random(0), lambda one: one.gauss(0.0, 1.0)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_go_on_from_where_they_were(name: str) -> None:
    """The next three draws come again, whichever stream they are of."""
    source, draw = STREAMS[name]
    draw(source)
    sources = [] if source is None else [source]
    states = stream_states(sources)
    expected = [draw(source) for _ in range(3)]
    set_stream_states(states, sources)
    assert [draw(source) for _ in range(3)] == expected
