"""The inner optimizers of a workload: its own, or others by name at the rate that its AdamW was tuned to.

Each follows the workload's schedule, unless it makes its own.
"""

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hpt.errors import UsageError
from hpt.optimizers.build import build_optimizers
from hpt.optimizers.catalogue import OWN, makes_own_schedule
from hpt.workloads.schedule import warmup_steps
from hpt.workloads.workload import Workload


def inner_optimizers(
    workload: Workload, model: nn.Module, name: str, total_steps: int, roles: Mapping[str, str] | None = None
) -> list[Optimizer]:
    """One or several optimizers over the model's trainable parameters, rates at their peak.

    Args:
        workload: whose rate and weight decay they get.
        model: built by it.
        name: `OWN`, a name of the catalogue, or `package.module:factory`.
        total_steps: planned updates.
        roles: of weights by pattern of names, the trainer's setting; beats what is found.

    Raises:
        ConfigError: a pattern of `roles` fits nothing.
        UsageError: the name is unknown, or the workload says no rate for others than its own.
        PrerequisiteError: the optimizer's package is not installed.
        HptError: a user's factory failed.
    """
    if name == OWN:
        return [workload.build_optimizer(model)]
    if workload.peak_lr is None:
        raise UsageError(
            f"optimizer is {name!r}, but workload {workload.name} has no peak_lr to scale its rate from; "
            "set the attribute peak_lr to AdamW's tuned rate, or leave the optimizer out"
        )
    return build_optimizers(
        name,
        model,
        peak_lr=workload.peak_lr,
        weight_decay=workload.weight_decay,
        total_steps=total_steps,
        warmup_steps=warmup_steps(total_steps),
        roles=roles,
    )


def inner_schedulers(
    workload: Workload, optimizers: Sequence[Optimizer], name: str, total_steps: int
) -> list[LRScheduler]:
    """The workload's schedule for each of the optimizers of that name; none where they make their own."""
    if makes_own_schedule(name):
        return []
    return [workload.build_scheduler(one, total_steps) for one in optimizers]
