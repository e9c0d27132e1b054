"""Slow, obvious trajectory: explicit displacements, every inner product by brute force."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt.learned.facts import CycleFacts

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedPath:
    """A run whose cycles moved the weights by the rows of `displacements` (cycles, P).

    `groups` are the index arrays of the parameter groups; empty for one group of all.
    """

    displacements: Vector
    scales: tuple[float, ...] = ()
    num_past: int = 0
    num_steps: int = 50
    groups: tuple[NDArray[np.intp], ...] = field(default=())

    def ema(self, cycle: int, mu: float) -> Vector:
        """Bias-corrected EMA after `cycle` cycles: a weighted mean with weights mu^age."""
        weights = mu ** np.arange(cycle - 1, -1, -1, dtype=np.float64)
        return weights @ self.displacements[:cycle] / weights.sum()

    def direction(self, name: str, cycle: int) -> Vector:
        """The direction of that name after `cycle` cycles."""
        if name == "d":
            return self.displacements[cycle - 1]
        if name.startswith("E"):
            return self.ema(cycle, float(name[1:]))
        return self.displacements[cycle - 1 - int(name[1:])]

    def jump(self, coefficients: dict[str, float], cycle: int) -> Vector:
        """The weight delta of a proposal."""
        parts = [factor * self.direction(name, cycle) for name, factor in coefficients.items()]
        return np.sum(parts, axis=0)

    def facts(self, cycle: int, progress: float | None = None, lr_frac: float = 1.0) -> CycleFacts:
        """What the trainer would report after `cycle` cycles (1 for the first)."""
        size = self.displacements.shape[1]
        groups = self.groups or (np.arange(size),)
        d = self.displacements[cycle - 1]
        basis = np.stack([d, *(self.ema(cycle, mu) for mu in self.scales)])
        earlier = [self.ema(cycle - 1, mu) if cycle > 1 else np.zeros(size) for mu in self.scales]
        past = self.displacements[:cycle][::-1][: self.num_past]
        weights = self.displacements[:cycle].sum(axis=0)
        shape = (len(groups), len(self.scales))
        return CycleFacts(
            cycle=cycle,
            step=cycle * self.num_steps,
            num_steps=self.num_steps,
            progress=progress,
            lr_frac=lr_frac,
            scales=self.scales,
            gram=np.array([basis[:, one] @ basis[:, one].T for one in groups]),
            lagged=np.array([[d[one] @ ema[one] for ema in earlier] for one in groups]).reshape(shape),
            lagged_norms=np.array([[ema[one] @ ema[one] for ema in earlier] for one in groups]).reshape(shape),
            weight_norms=np.array([float(np.linalg.norm(weights[one])) for one in groups]),
            past_gram=past @ past.T if self.num_past else None,
        )


def random_path(
    seed: int, num_cycles: int, size: int = 12, scales: tuple[float, ...] = (), num_past: int = 0
) -> SimulatedPath:
    """Drift plus noise, the noise as large as the drift."""
    generator = np.random.default_rng(seed)
    drift = generator.standard_normal(size)
    moves = drift + generator.standard_normal((num_cycles, size))
    return SimulatedPath(moves, scales, num_past)
