"""A GRU cell by the book, one unit at a time: Cho et al. 2014 with the reset gate applied after the matrix product."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def gru_cell(x: Array, h: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array) -> Array:
    """Next state (D,) from input (n,) and state (D,); weights are stacked as reset, update, candidate."""
    size = len(h)

    def inner(weights: Array, row: int, vector: Array, bias: Array) -> float:
        return sum(float(weights[row, j]) * float(vector[j]) for j in range(len(vector))) + float(bias[row])

    out = np.empty(size)
    for i in range(size):
        gates = [inner(weight_ih, i + k * size, x, bias_ih) for k in range(3)]
        recurrent = [inner(weight_hh, i + k * size, h, bias_hh) for k in range(3)]
        reset = _sigmoid(gates[0] + recurrent[0])
        update = _sigmoid(gates[1] + recurrent[1])
        candidate = math.tanh(gates[2] + reset * recurrent[2])
        out[i] = (1 - update) * candidate + update * float(h[i])
    return out
