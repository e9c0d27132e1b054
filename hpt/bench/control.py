"""The control: a fixed piece of work that touches none of the code under test, so that its time tells of the machine.

Every worker process times it right before the scenario. If it took longer in one run than in another, the machine was
slower then, and a difference between the two runs proves nothing by itself.
"""

import time

import numpy as np

NAME = "control"
_NUM_ROUNDS = 30  # about 35 ms in all: long enough to be interrupted as often as what it stands for
_PYTHON_ITERATIONS = 20_000
_NUM_PRODUCTS = 12
_SIZE = 128


def measure_control() -> float:
    """Seconds of one round, half interpreter and half matrix products; mean of thirty rounds after a warm-up.

    A mean and no median, because other programs that take the processor away are to be noticed.
    """
    matrix = np.linspace(-1, 1, _SIZE * _SIZE, dtype=np.float32).reshape(_SIZE, _SIZE)
    product = np.empty_like(matrix)
    _round(matrix, product)
    began = time.perf_counter()
    for _ in range(_NUM_ROUNDS):
        _round(matrix, product)
    return (time.perf_counter() - began) / _NUM_ROUNDS


def _round(matrix: np.ndarray, product: np.ndarray) -> None:
    total = 0
    for number in range(_PYTHON_ITERATIONS):
        total += number * number % 7
    for _ in range(_NUM_PRODUCTS):
        np.dot(matrix, matrix, product)
