"""What a jump is worth and how likely it ends well, from the few outcomes one run has.

A run measures a handful of values (each costs a fork) and some tens of verdicts, so everything starts at a prior
and leaves it slowly.

Values: a normal for each arm about a mean shared by all, itself about zero, with the spreads within and between arms
learned from what was measured (random-effects model; Gelman et al., "Bayesian Data Analysis", section 5.4, with point
estimates of both variances). The standard deviation is that of the next measured value, noise of measuring included,
so it can be scored as a forecast.
Verdicts: a rate shrunk to its prior (beta-binomial), and on its logit slopes learned by one Newton step an outcome
on a diagonal Gaussian posterior (Chapelle and Li, "An Empirical Evaluation of Thompson Sampling", 2011, algorithm 3,
with one pass instead of a batch solve).
"""

import math

import numpy as np
from numpy.typing import NDArray

from hpt.history import FloatArray
from hpt.learned.forecast_model import Vector
from hpt.numerics.stateful import Stateful

VALUE_CLIP = 5.0  # units of the trend's noise; measured values stay below 1, a branch that blew up does not
WITHIN_SPREAD = 0.05  # prior, units of noise: repeated measurements scatter by .001 to .002 nats on noise near 0.05
BETWEEN_SPREAD = 0.1  # prior, units of noise: single jumps are worth .003 to .008 nats
PRIOR_COUNT = 3.0  # outcomes that the priors weigh as much as
PRIOR_SUCCESS = 0.9  # the base preset counts as earned
LOGIT_CLIP = 30.0  # beyond it the probability is 0 or 1 in any case
FEATURE_SIGMA = 0.5  # prior standard deviation of the logit from all features together


class ShrunkMeans(Stateful):
    """Mean and predictive spread of the values of several arms.

    Args:
        num_arms: arms; with one it is the running mean.
    """

    _state = ("_counts", "_means", "_squares")

    def __init__(self, num_arms: int) -> None:
        self._counts = np.zeros(num_arms)
        self._means = np.zeros(num_arms)
        self._squares = 0.0  # of deviations from the own arm's mean

    @property
    def count(self) -> int:
        """Values seen, all arms together."""
        return int(self._counts.sum())

    def predict(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of each arm's next value."""
        played = self._counts > 0.0
        within, between = self._variances(played)
        weights = 1.0 / (between + within / self._counts[played])
        precision = 1.0 / BETWEEN_SPREAD**2 + float(weights.sum())
        shared = float(weights @ self._means[played]) / precision
        own = self._counts / within
        pull = 1.0 / (1.0 + between * own)  # share of the shared mean in the arm's
        means = pull * shared + (1.0 - pull) * self._means
        return means, np.sqrt(within + pull * between + pull**2 / precision)

    def _variances(self, played: NDArray[np.bool_]) -> tuple[float, float]:
        """Variances of values within an arm and of means between arms, each leaving its prior with what is seen."""
        spare = self._counts.sum() - played.sum()
        within = (PRIOR_COUNT * WITHIN_SPREAD**2 + self._squares) / (PRIOR_COUNT + spare)
        means, others = self._means[played], max(0, int(played.sum()) - 1)
        apart = float(means.var()) * len(means) if others else 0.0
        return float(within), (PRIOR_COUNT * BETWEEN_SPREAD**2 + apart) / (PRIOR_COUNT + others)

    def add(self, arm: int, value: float) -> None:
        """Take in one measured value (Welford's update of the arm's mean and squares)."""
        before = value - float(self._means[arm])
        self._counts[arm] += 1.0
        self._means[arm] += before / float(self._counts[arm])
        self._squares += before * (value - float(self._means[arm]))


class ShrunkLogistic(Stateful):
    """Probability of a good outcome: a shrunk rate, and slopes on features that start at zero.

    Args:
        num_features: length of the feature vectors, each about standard normal.
        prior: probability before any outcome.
    """

    _state = ("_num_good", "_count", "_slopes", "_precision")

    def __init__(self, num_features: int, prior: float = PRIOR_SUCCESS) -> None:
        self._prior = prior
        self._num_good = 0
        self._count = 0
        self._slopes = np.zeros(num_features)
        self._precision = np.full(num_features, num_features / FEATURE_SIGMA**2)

    def probability(self, features: Vector) -> float:
        """Probability in (0, 1)."""
        rate = (PRIOR_COUNT * self._prior + self._num_good) / (PRIOR_COUNT + self._count)
        logit = math.log(rate / (1.0 - rate)) + float(self._slopes @ features)
        return 1.0 / (1.0 + math.exp(-min(LOGIT_CLIP, max(-LOGIT_CLIP, logit))))

    def add(self, features: Vector, good: bool) -> None:  # noqa: FBT001 (the label itself)
        """Take in one outcome."""
        probability = self.probability(features)
        inputs = features.astype(np.float64)
        self._precision += probability * (1.0 - probability) * inputs**2
        self._slopes += inputs * (float(good) - probability) / self._precision
        self._num_good += int(good)
        self._count += 1
