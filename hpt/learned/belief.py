"""What is believed of the policies' worth: one normal distribution over all of them.

The worth theta of a policy is the logarithm of the work ratio that playing it through the whole window brings; that of
"no jump" is 0 for certain. Measurements revise the belief by conditioning, so that what is learned of one policy tells
about those that go with it.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from hpt.history import FloatArray

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Belief:
    """Normal distribution over the worth of A policies.

    Attributes:
        mean: (A,) log work ratios.
        covariance: (A, A).
    """

    mean: FloatArray
    covariance: FloatArray

    def less(self, cost: float) -> Self:
        """The same of policies that cost so much each, in the unit of theta."""
        return type(self)(self.mean - cost, self.covariance)

    def sd(self, place: int) -> float:
        """Standard deviation of one policy's worth."""
        return math.sqrt(max(0.0, float(self.covariance[place, place])))

    def revised(self, place: int, measured: float, variance: float) -> Self:
        """After the worth of one policy was measured with an error of this variance."""
        column = self.covariance[:, place]
        gain = column / (column[place] + max(variance, TINY))
        return type(self)(self.mean + gain * (measured - self.mean[place]), self.covariance - np.outer(gain, column))

    def spread(self, place: int, variance: float) -> FloatArray:
        """(A,) standard deviations s_i by which such a measurement will move the means, with their sign."""
        column = self.covariance[:, place]
        return column / math.sqrt(float(column[place]) + max(variance, TINY))

    def probability_positive(self, place: int) -> float:
        """Probability that one policy is worth more than nothing."""
        return normal_cdf(float(self.mean[place]) / max(self.sd(place), TINY))


def normal_cdf(z: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
