"""The orthogonal factor of a matrix, nearly: every direction it has is brought to about the same length.

With X = U S V^T, the factor is U V^T. It is approached by the odd polynomial of Jordan et al. (Muon, 2024),

    X <- 3.4445 X - 4.7750 (X X^T) X + 2.0315 (X X^T)^2 X        from X / |X|_F

whose slope at zero lifts a small singular value 3.4 times each time. Three times are enough to bring those above a
fortieth of the norm near the others, and leave what is smaller, mostly noise, below them. The result is scaled back to
the Frobenius norm of what came in: only the shape of the spectrum changes.
"""

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 3
# Smaller side above which a matrix is followed as it is: the factor's cost grows with the cube, and nothing larger
# was measured.
MAX_SIDE = 512


def has_factor(tensor: torch.Tensor) -> bool:
    """It is a matrix, or filters seen as one, of more than one row and column and small enough."""
    return tensor.ndim >= 2 and tensor.is_floating_point() and 1 < min(_sides(tensor.shape)) <= MAX_SIDE


@torch.no_grad()
def orthogonal_factor(matrix: torch.Tensor) -> torch.Tensor:
    """U S' V^T of the same Frobenius norm, S' nearly flat; axes beyond the first count as one.

    Args:
        matrix: two axes or more, float32 or wider.

    Returns:
        A new tensor of the same shape; of a zero matrix, zeros.
    """
    flat = matrix.reshape(matrix.shape[0], -1)
    wide = flat if flat.shape[0] <= flat.shape[1] else flat.T
    norm = torch.linalg.vector_norm(wide)
    least = torch.finfo(wide.dtype).tiny
    x = newton_schulz(wide / norm.clamp(min=least), NUM_ITERATIONS, COEFFICIENTS)
    x *= norm / torch.linalg.vector_norm(x).clamp(min=least)
    return (x if wide is flat else x.T).reshape(matrix.shape)


def newton_schulz(wide: torch.Tensor, num_rounds: int, coefficients: tuple[float, float, float]) -> torch.Tensor:
    """The polynomial of the module, so often; the matrix has no more rows than columns, and a norm of at most 1."""
    a, b, c = coefficients
    x = wide
    for _ in range(num_rounds):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def factor_flops(shape: torch.Size) -> int:
    """Floating-point operations of one factor, 12 m^2 n + 6 m^3 for m x n, m <= n; a multiply-add counts as two."""
    short, long = sorted(_sides(shape))
    return NUM_ITERATIONS * (4 * short * short * long + 2 * short**3)


def _sides(shape: torch.Size) -> tuple[int, int]:
    """Rows, and numbers in a row: axes beyond the first count as one."""
    return shape[0], shape.numel() // max(shape[0], 1)
