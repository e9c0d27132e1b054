"""Learning-rate schedules of the comparison: the shapes a baseline is tuned over, and the boost control.

`linear` is the workloads' own (`hpt.workloads.schedule`). `cosine` ends at the same 2 %. `wsd` (warmup, stable, decay;
Hu et al., arXiv:2404.06395) stays at the peak and falls linearly over the last 30 %. `constant` never falls.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hpt.compare.cells import WINDOW, Recipe
from hpt.workloads.schedule import FINAL_FRAC, lr_frac, warmup_steps

WSD_DECAY_FRAC = 0.3


def shaped_frac(shape: str, step: int, total_steps: int) -> float:
    """Share of the peak learning rate used by update number `step` (from 0)."""
    linear = lr_frac(step, total_steps)
    warmup = warmup_steps(total_steps)
    if shape == "linear" or step < warmup:
        return linear
    if shape == "constant":
        return 1.0
    progress = min((step - warmup + 1) / max(total_steps - warmup, 1), 1.0)
    if shape == "cosine":
        return FINAL_FRAC + (1.0 - FINAL_FRAC) * 0.5 * (1.0 + math.cos(math.pi * progress))
    return min(1.0, FINAL_FRAC + (1.0 - FINAL_FRAC) * (1.0 - progress) / WSD_DECAY_FRAC)


def boost_at(boost: float, step: int, total_steps: int) -> float:
    """The boost inside the window in which the base preset jumps, 1 outside."""
    start, end = WINDOW
    return boost if start <= step / total_steps <= end else 1.0


def schedule(optimizer: Optimizer, recipe: Recipe, total_steps: int) -> LambdaLR:
    """Scheduler of a recipe over groups whose learning rates stand at their peak; step it once an update."""

    def factor(step: int) -> float:
        return shaped_frac(recipe.shape, step, total_steps) * boost_at(recipe.boost, step, total_steps)

    return LambdaLR(optimizer, factor)
