"""Slow, obvious trajectory: explicit displacements, every inner product by brute force."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedPath:
    """A run whose cycles moved the weights by the rows of `displacements` (cycles, P).

    `groups` are the index arrays of the parameter groups; empty for one group of all.
    """

    displacements: Vector
    scale: float = 0.8
    num_steps: int = 50
    groups: tuple[NDArray[np.intp], ...] = field(default=())

    def ema(self, cycle: int) -> Vector:
        """Bias-corrected EMA after `cycle` cycles: a weighted mean with weights scale^age."""
        weights = self.scale ** np.arange(cycle - 1, -1, -1, dtype=np.float64)
        return weights @ self.displacements[:cycle] / weights.sum()

    def jump(self, delta: WeightDelta, cycle: int) -> Vector:
        """The weight delta of a proposal."""
        assert delta.scale == self.scale
        return -delta.pull_back * self.displacements[cycle - 1] + delta.gain * self.ema(cycle)

    def stats(self, cycle: int, progress: float | None = None, lr_frac: float = 1.0) -> CycleStats:
        """What the trainer would report after `cycle` cycles (1 for the first)."""
        size = self.displacements.shape[1]
        groups = self.groups or (np.arange(size),)
        d = self.displacements[cycle - 1]
        basis = np.stack([d, self.ema(cycle)])
        earlier = self.ema(cycle - 1) if cycle > 1 else np.zeros(size)
        weights = self.displacements[:cycle].sum(axis=0)
        return CycleStats(
            cycle=cycle,
            step=cycle * self.num_steps,
            num_steps=self.num_steps,
            progress=progress,
            lr_frac=lr_frac,
            scale=self.scale,
            gram=np.array([basis[:, one] @ basis[:, one].T for one in groups]),
            lagged=np.array([d[one] @ earlier[one] for one in groups]),
            lagged_norms=np.array([earlier[one] @ earlier[one] for one in groups]),
            weight_norms=np.array([float(np.linalg.norm(weights[one])) for one in groups]),
        )


def random_path(seed: int, num_cycles: int, size: int = 12, scale: float = 0.8) -> SimulatedPath:
    """Drift plus noise, the noise as large as the drift."""
    generator = np.random.default_rng(seed)
    drift = generator.standard_normal(size)
    return SimulatedPath(drift + generator.standard_normal((num_cycles, size)), scale)
