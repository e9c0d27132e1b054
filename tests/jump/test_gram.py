"""Chunks of parameters, and products of new averages from those of the old ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.trainer.inner_products import CHUNK_NUMBERS, after_update, chunks_of


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, CHUNK_NUMBERS), st.integers(0, 2)), max_size=30))
def test_chunks_hold_every_place_once_in_order_and_stay_small(parameters: list[tuple[int, int]]) -> None:
    """Joined again they are all places; none mixes kinds, and none of several parameters exceeds the bound."""
    sizes, kinds = [size for size, _ in parameters], [kind for _, kind in parameters]
    chunks = chunks_of(sizes, kinds)
    assert [place for chunk in chunks for place in chunk] == list(range(len(parameters)))
    assert all(len({kinds[place] for place in chunk}) == 1 for chunk in chunks)
    assert all(len(chunk) == 1 or sum(sizes[place] for place in chunk) <= CHUNK_NUMBERS for chunk in chunks)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(0, 2**16))
def test_products_of_new_averages_are_those_of_the_vectors(num_scales: int, seed: int) -> None:
    """Against the averages built and multiplied out, in double precision."""
    draw = np.random.default_rng(seed)
    scales = tuple(draw.uniform(0.1, 0.99, num_scales).tolist())
    rows = draw.standard_normal((2 + num_scales, 50))  # d, the old averages, the weights
    new = [mu * old + (1 - mu) * rows[0] for mu, old in zip(scales, rows[1:-1], strict=True)]
    basis = np.array([rows[0], *new])
    found = after_update((rows @ rows.T)[None], scales)[0]
    np.testing.assert_allclose(found, basis @ basis.T, rtol=1e-12, atol=1e-12)
