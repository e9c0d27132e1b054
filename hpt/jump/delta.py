"""What a jump is: how far along the trend, how much of the last displacement is taken back.

With d the displacement of the weights over the cycle that just ended, E the bias-corrected average of displacements
over cycles and O the same with each matrix by its orthogonal factor at equal norm,

    weight delta = -pull_back d + gain E        (or O)

which is periodic outer Nesterov (SNOO, arXiv:2510.15830; DiLoCo with one worker, arXiv:2311.08105). A drift v a cycle
becomes (1 + gain - pull_back) v, so the delta stands for (gain - pull_back) K full steps.
"""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class WeightDelta:
    """A change of all trained weights, as factors on the directions that the trajectory holds.

    Attributes:
        pull_back: part of the last displacement d that is taken back.
        gain: factor on the trend E.
        scale: decay of the trend over cycles, as the trajectory keeps it.
        orthogonal: matrices follow the orthogonal factor of their trend, at equal norm.
        keeps_norm: afterwards each matrix is brought back to the norm it had.
        noise_seed: control only: the trend gives way to Gaussian noise of expected norm |d|, fixed by this seed.
    """

    pull_back: float
    gain: float
    scale: float
    orthogonal: bool = False
    keeps_norm: bool = False
    noise_seed: int | None = None

    def shortened(self, factor: float) -> Self:
        """The same direction, `factor` as far."""
        return replace(self, pull_back=self.pull_back * factor, gain=self.gain * factor)

    def horizon(self, cycle_steps: int) -> int:
        """Full steps it stands for in cycles of `cycle_steps`, at least 1."""
        return max(1, round((self.gain - self.pull_back) * cycle_steps))
