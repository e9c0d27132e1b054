"""Sums over processes that hold pieces, and the same in one that holds all; for DTensors see `tests/distributed`."""

import math

import numpy as np
import pytest
import torch

from hpt.numerics.shards import NO_SHARDS, Shards, by_whole, clip_, local, own_piece, placed, whole_shape

PIECES = [torch.tensor([3.0, 4.0]), torch.tensor([[12.0]])]
THREE = Shards(exist=True, add=lambda one: 3 * one)
"""As if there were three processes with the same numbers in different pieces."""


def test_a_whole_tensor_is_itself() -> None:
    """The very object goes through everything, so that nothing is copied where nothing is in pieces."""
    (one, _) = PIECES
    assert all(through is one for through in (local(one), placed(one, one), own_piece(one, one)))
    assert by_whole(lambda tensor: tensor, one, one) is one
    assert whole_shape(one, one) == (2,)
    assert NO_SHARDS.sum(values := np.ones(2)) is values


def test_norms_are_of_all_pieces() -> None:
    """Square root of the sum over processes of squares: 5, 12 and 13 here, times the root of three among three."""
    for shards, factor in ((NO_SHARDS, 1.0), (THREE, math.sqrt(3.0))):
        norms = shards.norms(PIECES, PIECES)
        assert [round(float(one), 6) for one in norms] == [round(factor * size, 6) for size in (5.0, 12.0)]
        total = shards.total_norm(torch.tensor([5.0, 12.0]), PIECES)
        assert math.isclose(float(total), factor * 13.0, rel_tol=1e-6)
        assert math.isclose(shards.norm(13.0), factor * 13.0)


def test_what_every_process_has_counts_in_the_first() -> None:
    """A weight that is not in pieces, beside others that are."""
    assert THREE.count(PIECES[0])
    second = Shards(exist=True, is_first=False, add=lambda one: one)
    assert not second.count(PIECES[0])
    assert float(second.total_norm(torch.tensor([5.0]), PIECES[:1])) == 0.0


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
def test_clipping_is_torchs(max_norm: float) -> None:
    """To the bit, of several formats at once, where the norm is above the limit and where it is below."""
    draw = torch.Generator().manual_seed(0)
    formats = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
    theirs = [torch.nn.Parameter(torch.zeros(5, dtype=one)) for one in formats]
    for one in theirs:
        one.grad = torch.randn(5, generator=draw).to(one.dtype)
    mine = [one.grad.clone() for one in theirs if one.grad is not None]
    total = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    clip_(mine, max_norm, total)
    assert all(torch.equal(one, other.grad) for one, other in zip(mine, theirs, strict=True) if other.grad is not None)
