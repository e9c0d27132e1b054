"""The orthogonal factor against the singular value decomposition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.orthogonal import factor_by_svd, three_rounds
from torch import Tensor

from hpt.numerics.orthogonal import orthogonal_factor

LEAST = 1 / 40  # singular values from this share of the norm up are meant to end near each other


def matrix(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Singular vectors at random, singular values from 1 to 0.01 in equal ratios."""
    generator, size = torch.Generator().manual_seed(0), min(rows, columns)
    left, _ = torch.linalg.qr(torch.randn(rows, size, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(columns, size, generator=generator, dtype=torch.float64))
    return ((left * torch.logspace(0, -2, size, dtype=torch.float64)) @ right.T).to(dtype)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_only_the_singular_values_change(rows: int, columns: int, seed: int) -> None:
    """U p(S) V^T at equal norm, with U, S, V from torch's decomposition and p the scalar map; wide and tall."""
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(orthogonal_factor(x), factor_by_svd(x), rtol=1e-9, atol=1e-9)  # order of sums


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
@pytest.mark.parametrize(("rows", "columns"), [(8, 30), (30, 8), (16, 16)])
def test_the_frobenius_norm_is_kept(rows: int, columns: int, scale: float) -> None:
    """At any scale, in float32 to its precision."""
    x = scale * matrix(rows, columns, torch.float32)
    torch.testing.assert_close(orthogonal_factor(x).norm(), x.norm(), rtol=1e-5, atol=0.0)


def test_singular_values_above_a_fortieth_of_the_norm_come_within_a_factor_of_two() -> None:
    """They were more than ten times apart; what is below a hundredth of the norm stays below them all."""
    x = matrix(24, 60)
    left, before, right = torch.linalg.svd(x, full_matrices=False)
    after = torch.diagonal(left.T @ orthogonal_factor(x) @ right.T)
    is_large, is_small = before >= LEAST * x.norm(), before < 0.01 * x.norm()
    assert float(before[is_large].max() / before[is_large].min()) > 10.0
    assert float(after[is_large].max() / after[is_large].min()) < 2.0
    assert float(after[is_small].max()) < float(after[is_large].min())


def test_the_band_of_the_scalar_map() -> None:
    """On a fine grid from a fortieth to one: all within a factor of two of each other."""
    band = three_rounds(torch.linspace(LEAST, 1.0, 100_000, dtype=torch.float64))
    assert float(band.max() / band.min()) < 2.0


def test_a_transposed_matrix_gives_the_transposed_factor() -> None:
    """The smaller side is multiplied out, whichever it is."""
    x = matrix(5, 9)
    torch.testing.assert_close(orthogonal_factor(x.T), orthogonal_factor(x).T, rtol=1e-12, atol=1e-15)


def test_filters_count_as_one_row_each() -> None:
    """(out, in, height, width) has the factor of (out, in x height x width), in its own shape."""
    x = matrix(6, 27)
    assert torch.equal(orthogonal_factor(x.reshape(6, 3, 3, 3)), orthogonal_factor(x).reshape(6, 3, 3, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_stay_zeros(dtype: torch.dtype) -> None:
    """No direction, and no division by its length."""
    zeros = torch.zeros(3, 4, dtype=dtype)
    assert torch.equal(orthogonal_factor(zeros), zeros)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_input_stays_as_it_was(dtype: torch.dtype) -> None:
    """A new tensor of the same format comes out."""
    x = matrix(4, 7, dtype)
    kept = x.clone()
    assert orthogonal_factor(x).dtype is dtype
    assert torch.equal(x, kept)
