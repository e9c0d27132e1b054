"""Floating-point operations of whatever runs inside: products and factors of matrices, and element-wise work.

Products, convolutions and attention are counted by `torch.utils.flop_counter`. It does not know factorizations; for
those the leading terms of Golub & Van Loan, "Matrix Computations", 4th ed., stand here, by section, whatever method
LAPACK or cuSOLVER takes; eigenvalues and singular values alone as with vectors, which torch makes while it is watched.
Element-wise work is one operation a number made, functions too, and what one of torch's
combined operations takes where it stands for several (`lerp`, `addcmul`). A multiply-add is two.

Not counted: moving, sorting, comparing, whole numbers; kernels that torch's dispatcher does not see (Triton's, a user's
own in C++); `matrix_exp`, whose work depends on the numbers.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]
_aten = torch.ops.aten
_COMBINED = {"lerp": 3, "addcmul": 3, "addcdiv": 3}  # x + w (y - x), x + v a b, x + v a / b
_SCALED = ("add", "sub", "rsub")  # two operations with alpha
_MOVES = ("clone", "copy", "fill", "zero")
_REDUCTIONS = {"norm": 2, "linalg_vector_norm": 2} | dict.fromkeys(
    ("sum", "mean", "prod", "amax", "amin", "max", "min", "cumsum", "cumprod"), 1
)
# as their element-wise twins in torch.optim; with decay, without amsgrad
_FUSED = {"_fused_adam": 15, "_fused_adamw": 14, "_fused_sgd": 6, "_fused_adagrad": 10}


@contextmanager
def count_flops() -> Generator[Callable[[], int]]:
    """Count what runs inside, on this thread; what is yielded gives the count so far, and is to be asked inside."""
    elements, matrices = _ElementWise(), FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with elements, matrices:  # in this order: what the latter takes apart passes the former piece by piece
        yield lambda: elements.total + matrices.get_total_flops()


class _ElementWise(TorchDispatchMode):
    """Adds up element-wise operations and reductions, those on lists of tensors included."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(func, torch._ops.OpOverload) and func.namespace == "aten":  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            self.total += _element_flops(func, args, kwargs or {}, out)
        return out


def _element_flops(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    full = str(func.overloadpacket.__name__).rstrip("_")
    name = full.removeprefix("_foreach_")
    if full in _FUSED:
        return _FUSED[full] * _size(args[0])
    if name in _REDUCTIONS and not (name in ("max", "min") and len(args) > 1 and isinstance(args[1], Tensor)):
        return _REDUCTIONS[name] * _size(args[0])
    if name in _MOVES or not (torch.Tag.pointwise in func.tags or full != name):
        return 0
    each = 2 if name in _SCALED and kwargs.get("alpha", 1) != 1 else _COMBINED.get(name, 1)
    return each * _size(args[0] if out is None else out)


def _size(value: Any) -> int:
    """Floating-point numbers in a tensor, or in all of a list."""
    return sum(one.numel() for one in _tensors(value) if one.is_floating_point() or one.is_complex())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _tensors(one)


def _reflections(m: int, n: int, k: int) -> float:
    """Of k Householder reflections, found or applied (5.1.6, 5.2.2) in m x n: 4/3 n^3 where all are equal."""
    return 4 * m * n * k - 2 * (m + n) * k**2 + 4 * k**3 / 3


def _qr(a: Shape, mode: str = "reduced", **_: Any) -> int:
    """Householder (5.2.2): R, and Q made from its reflections (5.1.6); 8/3 n^3 for a square."""
    m, n = a[-2:]
    k = min(m, n)
    columns = {"r": 0, "reduced": k, "complete": m}[mode]
    made = _reflections(m, columns, k) if columns else 0.0
    return _each(a, _reflections(m, n, k) + made)


def _geqrf(a: Shape, **_: Any) -> int:
    return _qr(a, "r")


def _householder_product(a: Shape, tau: Shape, **_: Any) -> int:
    m, n = a[-2:]
    return _each(a, _reflections(m, n, tau[-1]))


def _eigh(a: Shape, *_: Any, **__: Any) -> int:
    """Symmetric QR with vectors (8.3): 9 n^3."""
    return _each(a, 9 * a[-1] ** 3)


def _eig(a: Shape, **_: Any) -> int:
    """QR with vectors (7.5.6): 25 n^3."""
    return _each(a, 25 * a[-1] ** 3)


def _svd(a: Shape, full_matrices: bool = False, *_: Any, **__: Any) -> int:  # noqa: FBT001, FBT002 - torch's
    """Golub-Reinsch with vectors (figure 8.6.1), the longer side first."""
    m, n = sorted(a[-2:], reverse=True)
    return _each(a, 4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if full_matrices else 14 * m * n**2 + 8 * n**3)


def _pinv(a: Shape, **_: Any) -> int:
    """From the singular value decomposition (5.5.2), and one product."""
    return _svd(a) + 2 * prod(a) * min(a[-2:])


def _lu(a: Shape, *_: Any, **__: Any) -> int:
    """With pivots (3.4): 2/3 n^3 for a square."""
    m, n = a[-2:]
    return _each(a, _reflections(m, n, min(m, n)) / 2)


def _inverse(a: Shape, **_: Any) -> int:
    """By elimination (3.4): 2 n^3."""
    return _each(a, 2 * a[-1] ** 3)


def _cholesky(a: Shape, *_: Any, **__: Any) -> int:
    """Cholesky or LDL' (4.2.5, 4.4): 1/3 n^3."""
    return _each(a, a[-1] ** 3 / 3)


def _cholesky_inverse(a: Shape, *_: Any, **__: Any) -> int:
    """From the factor (LAPACK's potri, Working Note 41): 2/3 n^3."""
    return _each(a, 2 * a[-1] ** 3 / 3)


def _solve(a: Shape, b: Shape, **_: Any) -> int:
    """Elimination (3.4), and two triangles for each right-hand side."""
    return _lu(a) + 2 * prod(b) * a[-1]


def _triangular(a: Shape, b: Shape, **_: Any) -> int:
    """Back substitution (3.1.2): n^2 for each right-hand side."""
    return prod(b) * a[-1]


def _triangular_old(b: Shape, a: Shape, *_: Any, **__: Any) -> int:
    return _triangular(a, b)


def _two_triangles(b: Shape, a: Shape, *_: Any, **__: Any) -> int:
    return 2 * _triangular(a, b)


def _lu_solve(a: Shape, _pivots: Shape, b: Shape, **_: Any) -> int:
    return 2 * _triangular(a, b)


def _least_squares(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Householder (5.3.2), and its reflections applied to each right-hand side."""
    return _qr(a, "r") + 4 * prod(b) * min(a[-2:])


def _two_a_number(a: Shape, *_: Any, **__: Any) -> int:
    """A matrix and a vector, two vectors, an outer product added."""
    return 2 * prod(a)


def _matrix_and_vector_added(_y: Shape, a: Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(a)


def _product_added(_y: Shape, a: Shape, b: Shape, **_: Any) -> int:
    return 2 * prod(a) * b[-1]


def _each(a: Shape, flops: float) -> int:
    """For every matrix of a batch."""
    return round(prod(a[:-2]) * flops)


_FORMULAS: dict[Any, Callable[..., int]] = {
    _aten.linalg_qr: _qr,
    _aten.geqrf: _geqrf,
    _aten.linalg_householder_product: _householder_product,
    _aten._linalg_eigh: _eigh,  # noqa: SLF001
    _aten.linalg_eig: _eig,
    _aten._linalg_svd: _svd,  # noqa: SLF001
    _aten.linalg_pinv: _pinv,
    _aten.linalg_lu: _lu,
    _aten.linalg_lu_factor_ex: _lu,
    _aten._linalg_det: _lu,  # noqa: SLF001
    _aten._linalg_slogdet: _lu,  # noqa: SLF001
    _aten.linalg_inv_ex: _inverse,
    _aten.linalg_cholesky_ex: _cholesky,
    _aten.linalg_ldl_factor_ex: _cholesky,
    _aten.cholesky_inverse: _cholesky_inverse,
    _aten._linalg_solve_ex: _solve,  # noqa: SLF001
    _aten.linalg_solve_triangular: _triangular,
    _aten.triangular_solve: _triangular_old,
    _aten.cholesky_solve: _two_triangles,
    _aten.linalg_lu_solve: _lu_solve,
    _aten.linalg_lstsq: _least_squares,
    _aten.mv: _two_a_number,
    _aten.dot: _two_a_number,
    _aten.vdot: _two_a_number,
    _aten.addmv: _matrix_and_vector_added,
    _aten.addmv_: _matrix_and_vector_added,
    _aten.addr: _two_a_number,
    _aten.addr_: _two_a_number,
    _aten.addbmm: _product_added,
    _aten.addbmm_: _product_added,
    _aten.addmm_: _product_added,
    _aten.baddbmm_: _product_added,
}
