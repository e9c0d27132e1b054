"""Chunks of parameters, and products of the new trend from those of the old one."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.jump.gram import CHUNK_NUMBERS, after_update, chunks_of, gram_of, to_host

LIMIT = CHUNK_NUMBERS["cpu"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, LIMIT), st.integers(0, 2)), max_size=30))
def test_chunks_hold_every_place_once_in_order_and_stay_small(parameters: list[tuple[int, int]]) -> None:
    """Joined again they are all places; none mixes kinds, and none of several parameters exceeds the bound."""
    sizes, kinds = [size for size, _ in parameters], [kind for _, kind in parameters]
    chunks = chunks_of(sizes, kinds, LIMIT)
    assert [place for chunk in chunks for place in chunk] == list(range(len(parameters)))
    assert all(len({kinds[place] for place in chunk}) == 1 for chunk in chunks)
    assert all(len(chunk) == 1 or sum(sizes[place] for place in chunk) <= LIMIT for chunk in chunks)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 0.99), st.integers(0, 2**16))
def test_products_of_the_new_trend_are_those_of_the_vectors(scale: float, seed: int) -> None:
    """Against the trend built and multiplied out, in double precision."""
    d, old, weights = np.random.default_rng(seed).standard_normal((3, 50))
    basis = np.array([d, scale * old + (1 - scale) * d])
    rows = np.array([d, old, weights])
    found = after_update((rows @ rows.T)[None], scale)[0]
    np.testing.assert_allclose(found, basis @ basis.T, rtol=1e-12, atol=1e-12)


def test_rows_too_long_to_be_stacked_give_the_same_products() -> None:
    """Pair by pair beyond LIMIT, one product of matrices below: numpy's result in both cases."""
    generator = torch.Generator().manual_seed(0)
    for size in (LIMIT, LIMIT + 1):
        rows = torch.randn(3, size, generator=generator, dtype=torch.float64)
        expected = rows.numpy() @ rows.numpy().T
        np.testing.assert_allclose(gram_of(list(rows)).numpy(), expected, rtol=1e-12)


def test_matrices_of_several_formats_come_to_the_host_in_their_order() -> None:
    """Single and double precision mixed: one transfer a format, every matrix in its place."""
    grams = [torch.full((3, 3), float(n), dtype=torch.float64 if n % 2 else torch.float32) for n in range(5)]
    np.testing.assert_array_equal(to_host(grams)[:, 0, 0], np.arange(5.0))
