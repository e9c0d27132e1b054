"""Offloading empties tensors for a while and brings back exactly what was in them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.memory.offload import Offload


def test_inside_there_is_no_memory_and_afterwards_everything_is_back() -> None:
    """Storage is empty inside; values, identity and shape are as before outside."""
    tensor = torch.arange(4096.0).reshape(64, 64)
    expected = tensor.clone()
    offload = Offload()
    with offload.away([tensor]):
        assert tensor.untyped_storage().nbytes() == 0
        assert tensor.shape == (64, 64)
    assert torch.equal(tensor, expected)
    assert offload.nbytes == expected.nbytes


def test_tensors_that_share_memory_still_share_it() -> None:
    """Two views of one storage go and come together, and the memory for them is taken once."""
    whole = torch.arange(8192.0)
    half = whole[4096:]
    offload = Offload()
    with offload.away([whole, half]):
        pass
    assert offload.nbytes == 8192 * 4
    whole[5000] = -1.0
    assert float(half[904]) == -1.0


def test_an_error_inside_brings_the_values_back_too() -> None:
    """A failing probe must not cost the optimizer its state."""
    tensor = torch.full((4096,), 3.0)
    with pytest.raises(ValueError, match="probe"), Offload().away([tensor]):
        raise ValueError("probe")
    assert torch.equal(tensor, torch.full((4096,), 3.0))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=5),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int64]),
)
def test_round_trip_is_the_identity(sizes: list[int], dtype: torch.dtype) -> None:
    """Any sizes and types, twice through the same host memory."""
    offload = Offload()
    tensors = [torch.arange(size).to(dtype) for size in sizes]
    expected = [one.clone() for one in tensors]
    for _ in range(2):
        with offload.away(tensors):
            pass
    assert all(torch.equal(one, other) for one, other in zip(tensors, expected, strict=True))
    held = sum(one.nbytes for one in expected if one.nbytes >= 4096)
    assert offload.nbytes == held
