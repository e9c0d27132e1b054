"""How many updates an optimizer's momentum remembers: a displacement over fewer is mostly that momentum."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer


def memory_steps(optimizer: Optimizer) -> float:
    """Updates over which the longest momentum of its parameter groups averages, 1 / (1 - beta); 1 without momentum.

    The first of `betas` counts, or else `momentum`. Lion mixes its update by the first beta, but its momentum decays
    by the second (arXiv:2302.06675, algorithm 2). AdEMAMix's third, the slow average (arXiv:2409.03137), does not
    count: it remembers as much as the whole run.
    """
    place = 1 if _is_lion(optimizer) else 0
    return max((_averaged(_decay(group, place)) for group in optimizer.param_groups), default=1.0)


def _is_lion(optimizer: Optimizer) -> bool:
    """By the name of its class or a base of it; bitsandbytes has PagedLion8bit and others."""
    return any(kind.__name__.removeprefix("Paged").startswith("Lion") for kind in type(optimizer).__mro__)


def _decay(group: Mapping[str, Any], place: int) -> object:
    betas = group.get("betas")
    if isinstance(betas, (tuple, list)) and len(betas) > place:  # pyright: ignore[reportUnknownArgumentType]
        return betas[place]  # pyright: ignore[reportUnknownVariableType]
    return group.get("momentum")


def _averaged(decay: Any) -> float:
    """Terms of an exponential average with that decay; 1 for what is none."""
    try:
        beta = float(decay)
    except (TypeError, ValueError):
        return 1.0
    return 1.0 / (1.0 - beta) if 0.0 <= beta < 1.0 else 1.0
