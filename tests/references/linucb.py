"""LinUCB as the paper prints it: a fresh inverse for every score, A rebuilt from all past plays."""

import math

import numpy as np


class SlowLinUCB:
    """Algorithm 1 of arXiv:1003.0146; keeps every play and starts from nothing at each decision."""

    def __init__(self, num_arms: int, context_size: int, alpha: float, ridge: float) -> None:
        self.history: list[list[tuple[np.ndarray, float]]] = [[] for _ in range(num_arms)]
        self.context_size = context_size
        self.alpha = alpha
        self.ridge = ridge

    def score(self, arm: int, context: np.ndarray) -> float:
        a = self.ridge * np.eye(self.context_size)
        b = np.zeros(self.context_size)
        for x, reward in self.history[arm]:
            for row in range(self.context_size):
                b[row] += reward * x[row]
                for column in range(self.context_size):
                    a[row, column] += x[row] * x[column]
        inverse = np.linalg.inv(a)
        theta = inverse @ b
        return float(theta @ context + self.alpha * math.sqrt(context @ inverse @ context))

    def choose(self, context: np.ndarray) -> int:
        scores = [self.score(arm, context) for arm in range(len(self.history))]
        return scores.index(max(scores))

    def observe(self, context: np.ndarray, arm: int, reward: float) -> None:
        self.history[arm].append((context, reward))
