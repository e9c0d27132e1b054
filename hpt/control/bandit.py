"""LinUCB: which arm to play in which situation, learned from the rewards of the arms that were played.

Li, Chu, Langford & Schapire 2010 (arXiv:1003.0146), algorithm 1, disjoint arms: every arm keeps A = ridge I + sum x x^T
and b = sum r x; its score in context x is theta . x + alpha sqrt(x^T A^-1 x) with theta = A^-1 b. A is the full matrix,
inverted once an observation: rewards come about once a cycle, so nothing is gained by updating the inverse in place,
and no rounding piles up. Ties go to the arm named first, so a run repeats bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Choice:
    """One decision.

    Attributes:
        arm: index of the chosen arm.
        name: its name.
        scores: upper confidence bound of each arm, in units of the reward.
        means: expected reward of each arm, without the bonus for uncertainty.
    """

    arm: int
    name: str
    scores: tuple[float, ...]
    means: tuple[float, ...]


class LinUCB:
    """Contextual bandit with linear rewards, one model an arm.

    Args:
        arms: names, at least one, no two alike.
        context_size: length of the context vector x; include a constant 1 in x for an intercept.
        alpha: width of the confidence bound in standard deviations of the reward's noise.
        ridge: prior precision, the identity's factor in A.
    """

    def __init__(self, arms: Sequence[str], context_size: int, alpha: float = 1.0, ridge: float = 1.0) -> None:
        assert arms, "a bandit needs an arm"
        assert len(set(arms)) == len(arms), f"arms {arms} are not all different"
        self.arms = tuple(arms)
        self._alpha = alpha
        count = len(self.arms)
        self._a = np.tile(ridge * np.eye(context_size), (count, 1, 1))
        self._inverse = np.linalg.inv(self._a)
        self._b = np.zeros((count, context_size))
        self._plays = [0] * count

    @property
    def plays(self) -> tuple[int, ...]:
        """Rewards observed for each arm."""
        return tuple(self._plays)

    def choose(self, context: ArrayLike) -> Choice:
        """Arm with the highest upper confidence bound for a context of shape (context_size,)."""
        x = np.asarray(context, dtype=np.float64)
        spread = self._inverse @ x
        means = (self._b * spread).sum(axis=1)
        scores = means + self._alpha * np.sqrt(np.maximum(spread @ x, 0.0))
        arm = int(np.argmax(scores))
        return Choice(arm, self.arms[arm], tuple(scores.tolist()), tuple(means.tolist()))

    def observe(self, context: ArrayLike, arm: int, reward: float) -> None:
        """Learn what playing `arm` in a context of shape (context_size,) brought."""
        x = np.asarray(context, dtype=np.float64)
        assert np.isfinite(reward), f"reward {reward} of arm {self.arms[arm]} is not finite"
        assert np.isfinite(x).all(), f"context {x} is not finite"
        self._a[arm] += np.outer(x, x)
        self._b[arm] += reward * x
        self._plays[arm] += 1
        self._inverse[arm] = np.linalg.inv(self._a[arm])

    def state_dict(self) -> dict[str, Any]:
        """Names, counts and matrices."""
        return {
            "arms": list(self.arms),
            "plays": list(self._plays),
            "a": self._a.copy(),
            "b": self._b.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; the arms must be the same."""
        assert tuple(state["arms"]) == self.arms, f"stored arms {state['arms']} are not {list(self.arms)}"
        self._plays = [int(count) for count in state["plays"]]
        self._a = np.array(state["a"], dtype=np.float64)
        self._inverse = np.linalg.inv(self._a)
        self._b = np.array(state["b"], dtype=np.float64)
