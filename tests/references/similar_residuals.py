"""Similar residuals as a plain loop over a list: the slow twin of the ring."""

import math
import statistics


class SlowStore:
    """Keeps (features, residual, spacing) in a list, oldest first."""

    def __init__(self, capacity: int, neighbours: int, recency: float) -> None:
        self.capacity = capacity
        self.neighbours = neighbours
        self.recency = recency
        self.rows: list[tuple[list[float], float, float]] = []

    def add(self, features: list[float], residual: float) -> None:
        distances = sorted(distance(features, row[0]) for row in self.rows)
        spacing = distances[min(self.neighbours, len(distances)) - 1] if distances else 0.0
        self.rows = [*self.rows, (features, residual, spacing)][-self.capacity :]

    def similar(self, features: list[float]) -> tuple[float, float]:
        if not self.rows:
            return 0.0, 0.0
        width = statistics.median(row[2] for row in self.rows)
        weights: list[float] = []
        for rank, (other, _, _) in enumerate(reversed(self.rows)):
            gap = distance(features, other)
            kernel = float(gap == 0.0) if width == 0.0 else math.exp(-gap / (2.0 * width))
            weights.append(kernel * self.recency**rank)
        total = sum(weights)
        if total == 0.0:
            return 0.0, 0.0
        residuals = [row[1] for row in reversed(self.rows)]
        return sum(w * r for w, r in zip(weights, residuals, strict=True)) / total, total


def distance(first: list[float], second: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / len(first)
