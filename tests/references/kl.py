"""Categorical distributions in plain loops: unimix probabilities and their KL divergence in nats."""

import math
from collections.abc import Sequence


def unimix(logits: Sequence[float], share: float) -> list[float]:
    """Softmax with a share of the uniform distribution mixed in."""
    largest = max(logits)
    weights = [math.exp(one - largest) for one in logits]
    return [(1 - share) * weight / sum(weights) + share / len(weights) for weight in weights]


def kl(first: Sequence[float], second: Sequence[float]) -> float:
    """Sum of p log(p / q)."""
    return sum(p * math.log(p / q) for p, q in zip(first, second, strict=True))


def grouped_kl(first: Sequence[float], second: Sequence[float], num_classes: int, share: float) -> float:
    """KL between two vectors of logits, each a row of categoricals of `num_classes` classes."""
    total = 0.0
    for start in range(0, len(first), num_classes):
        group = slice(start, start + num_classes)
        total += kl(unimix(first[group], share), unimix(second[group], share))
    return total
