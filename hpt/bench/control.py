"""The control: a fixed piece of work that touches none of the code under test, so that its time tells of the machine.

Every worker process times it right before the scenario. If it took longer in one run than in another, the machine was
slower then, and a difference between the two runs proves nothing by itself.
"""

import statistics
import time

import numpy as np

NAME = "control"
_NUM_ROUNDS = 7
_PYTHON_ITERATIONS = 20_000
_NUM_PRODUCTS = 12
_SIZE = 128


def measure_control() -> float:
    """Seconds of one round, half interpreter and half matrix products, median of seven rounds after one warm-up."""
    matrix = np.linspace(-1, 1, _SIZE * _SIZE, dtype=np.float32).reshape(_SIZE, _SIZE)
    product = np.empty_like(matrix)
    return statistics.median([_round_s(matrix, product) for _ in range(_NUM_ROUNDS + 1)][1:])


def _round_s(matrix: np.ndarray, product: np.ndarray) -> float:
    began = time.perf_counter()
    total = 0
    for number in range(_PYTHON_ITERATIONS):
        total += number * number % 7
    for _ in range(_NUM_PRODUCTS):
        np.dot(matrix, matrix, product)
    return time.perf_counter() - began
