"""Operations counted, against the leading terms of the textbook and counts by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, linalg

from hpt.numerics.flops import count_flops

ops: Any = torch  # lists of tensors, as torch.optim has them
N, M, K = 12, 30, 5
SQUARE = torch.randn(N, N, generator=torch.Generator().manual_seed(0)) + 4.0 * torch.eye(N)
SYMMETRIC = SQUARE @ SQUARE.T
TALL = torch.randn(M, N, generator=torch.Generator().manual_seed(1))
SIDES = torch.randn(N, K, generator=torch.Generator().manual_seed(2))


def flops(work: Callable[[], object]) -> int:
    with count_flops() as count:
        work()
        return count()


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: linalg.qr(SQUARE), 8 / 3 * N**3),
        (lambda: linalg.qr(TALL), 4 * N**2 * (M - N / 3)),
        (lambda: linalg.qr(TALL, mode="r"), 2 * N**2 * (M - N / 3)),
        (lambda: linalg.qr(TALL, mode="complete"), 2 * N**2 * (M - N / 3) + 4 * (M**2 * N - M * N**2 + N**3 / 3)),
        (lambda: linalg.qr(TALL.T), 2 * N**2 * (M - N / 3) + 4 / 3 * N**3),
        (lambda: linalg.eigh(SYMMETRIC), 9 * N**3),
        (lambda: linalg.eig(SQUARE), 25 * N**3),
        (lambda: linalg.svd(TALL, full_matrices=False), 14 * M * N**2 + 8 * N**3),
        (lambda: linalg.svd(TALL.T, full_matrices=False), 14 * M * N**2 + 8 * N**3),
        (lambda: linalg.svd(TALL), 4 * M**2 * N + 8 * M * N**2 + 9 * N**3),
        (lambda: linalg.lu_factor(SQUARE), 2 / 3 * N**3),
        (lambda: linalg.lu(TALL), M * N**2 - N**3 / 3),
        (lambda: linalg.inv(SQUARE), 2 * N**3),
        (lambda: torch.inverse(SQUARE), 2 * N**3),
        (lambda: linalg.cholesky(SYMMETRIC), N**3 / 3),
        (lambda: linalg.solve(SQUARE, SIDES), 2 / 3 * N**3 + 2 * N**2 * K),
        (lambda: linalg.solve_triangular(SQUARE, SIDES, upper=True), N**2 * K),
        (lambda: torch.cholesky_solve(SIDES, SQUARE), 2 * N**2 * K),
        (lambda: linalg.matrix_power(SQUARE, 4), 2 * 2 * N**3),
        (lambda: SQUARE @ SIDES, 2 * N**2 * K),
        (lambda: SQUARE @ SIDES[:, 0], 2 * N**2),
        (lambda: SIDES[:, 0].dot(SIDES[:, 1]), 2 * N),
        (lambda: SQUARE.clone().addr_(SIDES[:, 0], SIDES[:, 1]), 2 * N**2),
        (lambda: linalg.pinv(TALL), 14 * M * N**2 + 8 * N**3 + 2 * M * N**2),
        (lambda: TALL.clone().addmm_(TALL, SQUARE), 2 * M * N**2),
        (lambda: torch.zeros(3, M, N).baddbmm_(TALL.expand(3, M, N), SQUARE.expand(3, N, N)), 3 * 2 * M * N**2),
    ],
)
def test_a_factorization_takes_what_the_textbook_says(work: Callable[[], object], expected: float) -> None:
    """Golub & Van Loan: 5.2 QR, 8.3 and 7.5 eigenvectors, 8.6 singular vectors, 3.4 elimination, 4.2 Cholesky."""
    assert flops(work) == round(expected)


def test_a_batch_takes_the_sum_of_its_matrices() -> None:
    """Seven of them."""
    assert flops(lambda: linalg.qr(TALL.expand(7, M, N))) == 7 * flops(lambda: linalg.qr(TALL))


X, Y = TALL.clone(), TALL.clone().abs()


@pytest.mark.parametrize(
    ("work", "each"),
    [
        (lambda: X.mul(2.0), 1),
        (Y.sqrt, 1),
        (lambda: X.add(Y), 1),
        (lambda: X.add(Y, alpha=0.5), 2),
        (lambda: X.lerp_(Y, 0.1), 3),
        (lambda: X.addcmul_(X, Y, value=0.1), 3),
        (lambda: ops._foreach_lerp_([X[:10], X[10:]], [Y[:10], Y[10:]], 0.1), 3),
        (lambda: ops._foreach_add([X[:10], X[10:]], 1.0), 1),
        (lambda: ops._foreach_norm([X[:10], X[10:]]), 2),
        (X.sum, 1),
        (lambda: linalg.norm(X), 2),
        (lambda: X.clone().zero_().copy_(Y), 0),
        (X.argsort, 0),
        (lambda: X.long().add(1), 0),
        (lambda: X.t().contiguous(), 0),
    ],
)
def test_element_wise_work_is_counted_by_the_number(work: Callable[[], object], each: int) -> None:
    """By hand: x + w (y - x) is three operations, a sum of squares two a number, and moving costs nothing."""
    assert flops(work) == each * M * N


def test_nothing_is_lost_under_inference_mode() -> None:
    """There torch hands on `matmul` whole, and inside it is the same product."""

    @torch.inference_mode()
    def work(a: Tensor, b: Tensor) -> Tensor:
        return torch.tensordot(a, b, dims=1).square()

    assert flops(lambda: work(SQUARE, SIDES)) == 2 * N**2 * K + N * K
