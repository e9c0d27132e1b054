"""How well beliefs about the worth of policies do on runs that they have not seen.

nll            mean negative log density of the worth of a run's policies, nats a policy; lower is better
gap_recovered  of the gap between the best policy for all runs and the best one of each, the share that choosing by
               the belief recovers, what it cost to measure taken off
reliability    Brier score and table of the probability that a policy is worth something
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpt.history import FloatArray
from hpt.learned.belief import Belief
from hpt.learned.confidence import Reliability

LEAST_VARIANCE = 1e-4


class Scores:
    """One model's scores, run by run.

    Attributes:
        nlls: of the runs, in order; empty for a model that tells no spread.
        earned: log work ratio of the policy that it chose, less the share of the run that measuring took.
    """

    def __init__(self) -> None:
        self.nlls: list[float] = []
        self.earned: list[float] = []
        self._reliability = Reliability()

    def add(self, belief: Belief, cost: float, worth: FloatArray) -> None:
        """Take in one run: what was believed, what it took to know, and what the policies (A,) were worth."""
        self.earned.append(gain_of(belief, worth) - cost)
        if belief.covariance.any():
            self.nlls.append(nll(belief, worth))
            for place, value in enumerate(worth.tolist()):
                self._reliability.add(belief.probability_positive(place), value > 0.0)

    def document(self, fixed: float, best: float, prior: Sequence[float]) -> dict[str, Any]:
        """Plain values.

        Args:
            fixed: mean worth of the policy that is best for all runs.
            best: of the one that is best in each.
            prior: nll of the prior on the same runs.
        """
        worth, over = float(np.mean(self.earned)), np.array(self.nlls) - np.array(prior if self.nlls else ())
        return {
            "num_runs": len(self.earned),
            "nll": float(np.mean(self.nlls)) if self.nlls else None,
            "nll_over_prior": _mean_and_error(over) if self.nlls else None,
            "worth": worth,
            "gap_recovered": (worth - fixed) / (best - fixed) if best > fixed else 0.0,
            "reliability": self._reliability.summary() if self.nlls else None,
        }


def documents(scores: Mapping[str, Scores], worths: Sequence[FloatArray], names: Sequence[str]) -> dict[str, Any]:
    """Scores of all models on the same runs, with what they are held against.

    Args:
        scores: by model, the prior among them.
        worths: (A,) of every run that was scored.
        names: of the policies.
    """
    means = np.mean(worths, axis=0)
    fixed, best = max(0.0, float(means.max())), float(np.mean([max(0.0, float(one.max())) for one in worths]))
    return {
        "best_fixed": names[int(means.argmax())] if means.max() > 0.0 else "none",
        "fixed_worth": fixed,
        "best_worth": best,
        "models": {name: one.document(fixed, best, scores["prior"].nlls) for name, one in scores.items()},
    }


def nll(belief: Belief, worth: FloatArray) -> float:
    """Negative log density of the worth (A,), nats, over A."""
    covariance = belief.covariance + LEAST_VARIANCE * np.eye(len(worth))
    error = worth - belief.mean
    _, log_determinant = np.linalg.slogdet(covariance)
    squares = float(error @ np.linalg.solve(covariance, error))
    return 0.5 * (squares + float(log_determinant) + len(worth) * math.log(2 * math.pi)) / len(worth)


def gain_of(belief: Belief, worth: FloatArray) -> float:
    """Worth of the policy that the belief plays."""
    place = int(np.argmax(belief.mean))
    return float(worth[place]) if belief.mean[place] > 0.0 else 0.0


def _mean_and_error(numbers: FloatArray) -> dict[str, float | None]:
    """With the standard error over runs, None for a single one."""
    error = float(numbers.std(ddof=1)) / math.sqrt(len(numbers)) if len(numbers) > 1 else None
    return {"value": float(numbers.mean()), "error": error}
