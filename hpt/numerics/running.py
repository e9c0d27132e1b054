"""Statistics that are updated one number at a time: exponential averages, mean and variance.

The exponential average is free of start-up bias: observation n enters with gain / (1 - (1 - gain)^n), which
is the plain exponential average divided by its own weight (Kingma & Ba 2015, section 3, the bias correction
of Adam). Mean and variance follow Welford (1962).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.numerics.stateful import Stateful

FloatArray = NDArray[np.float64]

_NOTHING = 1e-17  # what 1 does not feel in double precision


def corrected_gain(gain: float, count: int) -> float:
    """Gain of observation `count` (1 for the first) that frees an exponential average of start-up bias."""
    return gain / (1 - (1 - gain) ** count)


class Welford(Stateful):
    """Mean and variance of all numbers so far.

    Attributes:
        count: numbers so far.
        mean: their mean, 0 before the first.
    """

    _state = ("count", "mean", "_squares")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared deviations from the mean

    def push(self, number: float) -> None:
        """Take in one number."""
        self.count += 1
        deviation = number - self.mean
        self.mean += deviation / self.count
        self._squares += deviation * (number - self.mean)

    @property
    def variance(self) -> float:
        """Unbiased variance, 0 for fewer than two numbers."""
        return self._squares / (self.count - 1) if self.count > 1 else 0.0

    @property
    def std(self) -> float:
        """Square root of `variance`."""
        return math.sqrt(self.variance)


class EmaBank(Stateful):
    """Many bias-corrected exponential averages, each of its own input and gain, updated together.

    Attributes:
        values: (w,) the averages, 0 before the first input.
        count: inputs so far.
    """

    _state = ("values", "count", "_lacking", "_settled")

    def __init__(self, gains: FloatArray) -> None:
        assert gains.ndim == 1, f"gains have shape {gains.shape}, they must be a vector"
        assert bool(np.all((gains > 0) & (gains <= 1))), f"gains are {gains}, they must lie in (0, 1]"
        self.values = np.zeros(len(gains))
        self.count = 0
        self._gains = gains.astype(np.float64)
        self._lacking = np.ones(len(gains))  # (1 - gain)^count: weight by which the averages fall short of 1
        self._settled = self._gains.copy()  # gains once what is lacking rounds to nothing
        self._ahead: tuple[FloatArray, FloatArray] | None = None
        least = min(float(gains.min()), 0.5)
        self._settled_count = math.ceil(math.log(_NOTHING) / math.log1p(-least))

    def rates(self, num_inputs: int) -> FloatArray:
        """Gains (n, w) with which the next n inputs will enter: `corrected_gain`."""
        return self._upcoming(num_inputs)[0]

    def scan(self, inputs: FloatArray) -> FloatArray:
        """Take in n inputs (n, w), one after the other, and return the averages after each, (n, w)."""
        rates, lacking = self._upcoming(len(inputs))
        averages = ema_scan(self.values, inputs, rates)
        if len(inputs):
            self.values[:], self._settled[:], self._lacking[:] = averages[-1], rates[-1], lacking
        self.count += len(inputs)
        self._ahead = None
        return averages

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._ahead = None

    def _upcoming(self, num_inputs: int) -> tuple[FloatArray, FloatArray]:
        """Gains of the next n inputs, and what is lacking after them."""
        if self._ahead is None or len(self._ahead[0]) != num_inputs:
            num_correct = min(num_inputs, max(0, self._settled_count - 1 - self.count))
            factors = np.empty((1 + num_correct, len(self.values)))
            factors[0], factors[1:] = self._lacking, 1 - self._gains
            lacking = np.multiply.accumulate(factors, axis=0)
            rates = np.empty((num_inputs, len(self.values)))
            np.divide(self._gains, 1 - lacking[1:], out=rates[:num_correct])
            rates[num_correct:] = rates[num_correct - 1] if num_correct else self._settled
            self._ahead = rates, lacking[-1]
        return self._ahead


def ema_scan(start: FloatArray, inputs: FloatArray, gains: FloatArray) -> FloatArray:
    """Exponential averages (n, w) after each of the inputs (n, w), from `start` (w,), under gains (n, w)."""
    averages, move, before = np.empty_like(inputs), np.empty(inputs.shape[1]), start
    subtract, multiply, add = np.subtract, np.multiply, np.add
    for one, gain, after in zip(inputs, gains, averages, strict=True):
        subtract(one, before, move)
        multiply(move, gain, move)
        add(before, move, after)
        before = after
    return averages
