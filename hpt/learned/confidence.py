"""Making a raw probability honest, and measuring whether it is.

Calibration is Platt's (1999) with a prior: p = sigmoid(intercept + slope * logit(raw)), fitted to the last outcomes
under a Gaussian prior at the identity (intercept 0, slope 1) and a few imagined outcomes that succeed at the prior base
rate whatever the raw probability says. With no outcomes the answer lies between the two; outcomes then take over. The
slope is never negative: a raw probability that points the wrong way is ignored, not turned round.

Honesty is the Brier score (1950) against two base rates: the one known before each outcome, and the one of all
outcomes, which nobody could have known and which is the stricter.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.history import FloatArray
from hpt.numerics.stateful import Stateful

_CAPACITY = 256  # outcomes the fit looks at
_LEAST_PROBABILITY = 1e-4
_INTERCEPT_STD, _SLOPE_STD = 2.0, 0.5  # of the prior: a shift is likelier than a change of scale
_IMAGINED_LOGITS = (-2.0, 0.0, 2.0)
_IMAGINED_OUTCOMES = 4.0  # in all; what a Beta prior's two parameters would add up to
_NEWTON_STEPS = 30
_LARGEST_STEP = 1.0  # keeps Newton's method from leaping over the optimum where the curve is flat
_CONVERGED = 1e-10
_LEAST_OUTCOMES = 20  # below this no skill is claimed
_NUM_BINS = 10


class Calibrator(Stateful):
    """Online recalibration of a raw probability.

    Args:
        prior_rate: share of successes expected before any outcome, in (0, 1).
    """

    _state = ("_logits", "_outcomes")

    def __init__(self, prior_rate: float) -> None:
        assert 0 < prior_rate < 1, f"prior_rate is {prior_rate}, it must lie in (0, 1)"
        self._prior_rate = prior_rate
        self._logits: deque[float] = deque(maxlen=_CAPACITY)
        self._outcomes: deque[float] = deque(maxlen=_CAPACITY)
        self._refit()

    def calibrated(self, raw: float) -> float:
        """Probability in (0, 1) that goes with a raw one in [0, 1]; never falls as `raw` rises."""
        return _sigmoid(self._intercept + self._slope * _logit(raw))

    def observe(self, raw: float, outcome: bool) -> None:  # noqa: FBT001 (the label itself)
        """Take in one outcome and the raw probability given before it."""
        self._logits.append(_logit(raw))
        self._outcomes.append(float(outcome))
        self._refit()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self._refit()

    def _refit(self) -> None:
        logits = np.array((*_IMAGINED_LOGITS, *self._logits))
        outcomes = np.array((*(self._prior_rate,) * len(_IMAGINED_LOGITS), *self._outcomes))
        weights = np.ones(len(logits))
        weights[: len(_IMAGINED_LOGITS)] = _IMAGINED_OUTCOMES / len(_IMAGINED_LOGITS)
        design = np.stack([np.ones(len(logits)), logits])
        self._intercept, self._slope = _newton(design, outcomes, weights)
        if self._slope < 0:
            self._slope = 0.0
            self._intercept, _ = _newton(design * [[1.0], [0.0]], outcomes, weights)


def _newton(design: FloatArray, outcomes: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Intercept and slope of the penalised logistic regression of (n,) outcomes on a (2, n) design."""
    identity = np.array([0.0, 1.0])
    precision = np.array([_INTERCEPT_STD**-2, _SLOPE_STD**-2])
    point = identity.copy()
    for _ in range(_NEWTON_STEPS):
        probabilities = 1 / (1 + np.exp(-(point @ design)))
        gradient = design @ (weights * (probabilities - outcomes)) + precision * (point - identity)
        curvature = (design * (weights * probabilities * (1 - probabilities))) @ design.T + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        length = float(np.abs(step).max())
        point -= step * min(1.0, _LARGEST_STEP / max(length, _CONVERGED))
        if length < _CONVERGED:
            break
    return float(point[0]), float(point[1])


class Reliability(Stateful):
    """Brier score, its base rates and the reliability table of a stream of probabilities.

    Attributes:
        count: outcomes so far.
    """

    _state = ("count", "_successes", "_squares", "_base_squares", "_bins")

    def __init__(self) -> None:
        self.count = 0
        self._successes = 0
        self._squares = 0.0  # of the probabilities' errors
        self._base_squares = 0.0  # of the running base rate's errors
        self._bins = [[0, 0.0, 0] for _ in range(_NUM_BINS)]  # outcomes, sum of probabilities, successes

    def add(self, probability: float, outcome: bool) -> None:  # noqa: FBT001 (the label itself)
        """Take in one outcome and the probability, in [0, 1], given before it."""
        assert 0 <= probability <= 1, f"probability is {probability}, it must lie in [0, 1]"
        base_rate = (self._successes + 1) / (self.count + 2)
        self._squares += (probability - outcome) ** 2
        self._base_squares += (base_rate - outcome) ** 2
        self.count += 1
        self._successes += outcome
        one_bin = self._bins[min(int(probability * _NUM_BINS), _NUM_BINS - 1)]
        one_bin[0] += 1
        one_bin[1] += probability
        one_bin[2] += outcome

    @property
    def brier(self) -> float | None:
        """Mean squared error of the probabilities; None before the first outcome."""
        return self._squares / self.count if self.count else None

    @property
    def base_rate_brier(self) -> float | None:
        """The same of the running base rate, (successes + 1) / (outcomes + 2) before each outcome."""
        return self._base_squares / self.count if self.count else None

    @property
    def sample_rate_brier(self) -> float | None:
        """The same of the base rate of all outcomes, known only afterwards."""
        if not self.count:
            return None
        rate = self._successes / self.count
        return rate * (1 - rate)

    @property
    def skill(self) -> str:
        """Whether the probabilities beat both base rates over at least 20 outcomes: "skill" or "no skill"."""
        brier, base, sample = self.brier, self.base_rate_brier, self.sample_rate_brier
        if brier is None or base is None or sample is None or self.count < _LEAST_OUTCOMES:
            return "no skill"
        return "skill" if brier < min(base, sample) else "no skill"

    def table(self) -> list[dict[str, float | None]]:
        """Ten bins of probability: lower edge, outcomes, mean probability and frequency of success (None if empty)."""
        return [
            {
                "low": place / _NUM_BINS,
                "count": count,
                "mean_probability": total / count if count else None,
                "frequency": successes / count if count else None,
            }
            for place, (count, total, successes) in enumerate(self._bins)
        ]

    def summary(self) -> dict[str, Any]:
        """Plain values for run.json."""
        return {
            "count": self.count,
            "brier": self.brier,
            "base_rate_brier": self.base_rate_brier,
            "sample_rate_brier": self.sample_rate_brier,
            "skill": self.skill,
            "table": self.table(),
        }


def _logit(probability: float) -> float:
    bounded = min(max(probability, _LEAST_PROBABILITY), 1 - _LEAST_PROBABILITY)
    return math.log(bounded / (1 - bounded))


def _sigmoid(number: float) -> float:
    return 1 / (1 + math.exp(-number))
