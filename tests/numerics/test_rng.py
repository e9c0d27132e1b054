"""Random streams depend on seed and name only, and can be put back where they were."""

import numpy as np
import pytest
import torch

from hpt.numerics.rng import RngStreams, derive_seed, set_torch_rng_state, torch_rng_state


def test_seeds_differ_by_name_and_by_seed() -> None:
    """A thousand (seed, name) pairs give a thousand seeds, all acceptable to torch."""
    seeds = {derive_seed(seed, f"name{number}") for seed in range(10) for number in range(100)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_is_the_same_in_every_process() -> None:
    """No salted hash is involved: the value is numpy's SeedSequence over the seed and the name's bytes."""
    expected = int(np.random.SeedSequence([7, 97, 98]).generate_state(1, np.uint64)[0]) >> 1
    assert derive_seed(7, "ab") == expected


def test_streams_do_not_disturb_each_other() -> None:
    """What one stream draws does not depend on other streams having been asked for, or having drawn."""
    alone, crowded = RngStreams(3), RngStreams(3)
    crowded.numpy("other").random(5)
    crowded.torch("replay").manual_seed(0)
    torch.rand(3, generator=crowded.torch("other"))
    assert alone.numpy("replay").random() == crowded.numpy("replay").random()
    assert torch.equal(
        torch.rand(4, generator=alone.torch("dropout")), torch.rand(4, generator=crowded.torch("dropout"))
    )


def test_streams_of_other_names_draw_other_numbers() -> None:
    """No two names share a stream, in numpy or in torch."""
    streams = RngStreams(3)
    assert streams.numpy("a").random() != streams.numpy("b").random()
    assert not torch.equal(torch.rand(4, generator=streams.torch("a")), torch.rand(4, generator=streams.torch("b")))


def test_streams_leave_the_global_generators_alone() -> None:
    """Making and using streams draws nothing from torch's global generator."""
    before = torch.get_rng_state()
    torch.rand(3, generator=RngStreams(0).torch("a"))
    assert torch.equal(before, torch.get_rng_state())


def test_streams_continue_from_a_saved_position() -> None:
    """Streams made before loading draw what the saved ones would have, and unsaved ones start afresh."""
    saved, loaded = RngStreams(1), RngStreams(1)
    saved.numpy("a").random(3)
    torch.rand(3, generator=saved.torch("b"))
    held, fresh, fresh_torch = loaded.numpy("a"), loaded.numpy("c"), loaded.torch("d")
    held.random(7)
    fresh.random(2)
    torch.rand(2, generator=fresh_torch)
    loaded.load_state_dict(saved.state_dict())
    assert held.random() == saved.numpy("a").random()
    assert fresh.random() == RngStreams(1).numpy("c").random()
    assert torch.equal(torch.rand(2, generator=fresh_torch), torch.rand(2, generator=RngStreams(1).torch("d")))
    assert torch.equal(torch.rand(2, generator=loaded.torch("b")), torch.rand(2, generator=saved.torch("b")))


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
