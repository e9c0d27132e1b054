"""Carrying out a recipe: the optimizers, their schedules, the trainer's settings, and the weights that are read out.

`linear` is the workloads' own schedule (`hpt.workloads.schedule`). `cosine` ends at the same 2 %. `wsd` (warmup,
stable, decay; Hu et al., arXiv:2404.06395) stays at the peak and falls linearly over the last 30 %. `constant` never
falls.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hpt.compare.cells import WINDOW, Cell, Recipe
from hpt.config import HybridConfig
from hpt.errors import UsageError
from hpt.optimizers.catalogue import makes_own_schedule, why_no_jumps
from hpt.workloads.inner import inner_optimizers
from hpt.workloads.schedule import FINAL_FRAC, lr_frac, warmup_steps
from hpt.workloads.workload import Workload

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


def schedule(optimizer: Optimizer, recipe: Recipe, total_steps: int) -> LambdaLR:
    """Over groups whose learning rates stand at their peak, boosted inside `WINDOW`; step it once an update."""

    def factor(step: int) -> float:
        boost = recipe.boost if WINDOW[0] <= step / total_steps <= WINDOW[1] else 1.0
        return shaped_frac(recipe.shape, step, total_steps) * boost

    return LambdaLR(optimizer, factor)


def trainer_config(cell: Cell, clip_norm: float | None) -> HybridConfig:
    """The trainer's settings for a cell; a clipping limit in the recipe beats the workload's.

    Raises:
        ConfigError: a setting of the recipe is unknown or out of range.
    """
    values = cell.recipe.config
    update = {"clip_norm": clip_norm, **values.get("update", {})}
    precision = {"autocast": cell.dtype, **values.get("precision", {})}
    fixed: dict[str, Any] = {"total_steps": cell.steps, "seed": cell.seed, "update": update, "precision": precision}
    return HybridConfig.from_dict({**values, **fixed})


def make_optimizers(recipe: Recipe, workload: Workload, model: nn.Module, steps: int) -> list[Optimizer]:
    """The recipe's inner optimizers with its learning rate and memory.

    Raises:
        UsageError: the optimizer is unknown, or jumps make no sense on it and the recipe makes some.
        PrerequisiteError: its package is not installed.
    """
    reason = why_no_jumps(recipe.optimizer)
    if reason and recipe.config.get("predictor", "rssm") != "none":
        raise UsageError(f"jumps make no sense on {recipe.optimizer}: {reason}; leave it to itself")
    optimizers = inner_optimizers(workload, model, recipe.optimizer, steps, recipe.config.get("roles"))
    for group in (group for one in optimizers for group in one.param_groups):
        group["lr"] *= recipe.lr_factor
        if recipe.memory is not None and "betas" in group:
            first, _, *further = group["betas"]
            group["betas"] = (first, recipe.memory, *further)
        elif recipe.memory is not None and "momentum" in group:
            group["momentum"] = recipe.memory
    return optimizers


def schedules(optimizers: Sequence[Optimizer], recipe: Recipe, total_steps: int) -> list[LambdaLR]:
    """One for each optimizer; none where they make their own."""
    if makes_own_schedule(recipe.optimizer):
        return []
    return [schedule(one, recipe, total_steps) for one in optimizers]


class WeightAverage:
    """Exponential moving average of the weights over updates; buffers are not averaged.

    Args:
        model: whose trained weights are followed.
        decay: of the average, per update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an update."""
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.lerp_(parameter, 1.0 - self._decay)

    @torch.no_grad()
    def install(self) -> None:
        """Put the average into the model."""
        for parameter, average in zip(self._parameters, self._average, strict=True):
            parameter.copy_(average)
