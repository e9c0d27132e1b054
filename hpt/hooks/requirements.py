"""What cannot be attached to is refused at once, with what to do instead."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from hpt.config import HybridConfig
from hpt.distributed.together import Together
from hpt.errors import CheckpointError, ConfigError, ModelError, UsageError
from hpt.numerics.shards import is_dtensor
from hpt.optimizers.inner import InnerOptimizer
from hpt.predictors.registry import LEARNED
from hpt.trainer.requirements import check_predictable, check_settings, check_trainable

_INNER = ("optimizer", "_optimizer", "base_optimizer")  # where wrappers keep the one that they wrap
_PIECES = ("_is_flat_param", "_fsdp_flattened")  # attributes of what FullyShardedDataParallel leaves of the weights
# Settings of what the loop does itself, by group; hpt would have to own the loop to follow them.
_HOSTS = ("precision", "update", "checkpoint", "divergence")


def check_kind(optimizer: object) -> None:
    """It is an optimizer of torch, with hooks, that steps the model's own weights.

    Raises:
        ModelError: it is something else, a wrapper around one, or jumps would not reach the weights that are trained.
    """
    name = type(optimizer).__qualname__
    inner = next((one for one in _INNER if isinstance(getattr(optimizer, one, None), Optimizer)), None)
    if inner is not None:
        raise ModelError(
            f"optimizer {name} wraps another, whose step() the hooks must be on; pass the one inside, .{inner}"
        )
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizer, "_optimizer_step_post_hooks"):
        raise ModelError(
            f"optimizer is a {name}, it must be a torch.optim.Optimizer; pass the one that your loop steps"
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ModelError(
            "optimizer LBFGS makes many updates in one step(closure), of which none can be told from outside; "
            "use one whose step() is one update (AdamW, SGD, Muon)"
        )
    if type(optimizer).__module__.partition(".")[0] == "schedulefree" or "ScheduleFree" in name:
        raise ModelError(
            f"optimizer {name} keeps weights of its own beside the model's, of which only the model's would jump; "
            "use it without hpt, or another optimizer"
        )


def check_run(
    optimizer: InnerOptimizer, model: torch.nn.Module | None, config: HybridConfig, together: Together, *, probes: bool
) -> None:
    """Weights and optimizers as they are when training begins.

    Raises:
        ModelError: a weight is not there, is in pieces that jumps do not know, or an optimizer is at work where hpt
            cannot see it.
        ConfigError: a setting cannot be had in several processes.
        UsageError: a probe of sharded weights whose model is not known.
    """
    whole = torch.nn.Module() if model is None else model
    check_trainable(whole, optimizer, [])
    check_predictable(whole, optimizer, together.num_processes, "train without hpt.attach")
    check_settings(config, optimizer, together.num_processes)
    if probes and model is None and any(map(is_dtensor, optimizer.parameters)):
        raise UsageError(
            "a probe is given and no model, whose gathered weights it would be measured on after a jump; "
            "give model=, too, or no probe"
        )
    for place, one in enumerate(optimizer.parameters):
        if any(hasattr(one, mark) for mark in _PIECES):
            raise ModelError(
                f"parameter {place} of the optimizer is a piece of a sharded weight (FullyShardedDataParallel), "
                "which jumps cannot move; use DistributedDataParallel, or train without hpt.attach"
            )


def check_config(config: HybridConfig) -> None:
    """Nothing is asked for that the loop itself decides.

    Raises:
        ConfigError: a setting of the loop's is set, or there is nothing to attach.
    """
    if config.predictor == "none":
        raise ConfigError("predictor is 'none', which never jumps; leave hpt.attach out, or name a predictor")
    for group in _HOSTS:
        changed = _changed(getattr(config, group))
        if changed:
            raise ConfigError(
                f"{group}.{changed[0]} is set, but your own loop does that; leave it out here and do it there"
            )


def check_losses(config: HybridConfig) -> None:
    """A predictor that learns from losses was to be shown some.

    Raises:
        ConfigError: it was shown none before the first step.
    """
    if config.predictor in LEARNED:
        raise ConfigError(
            f"predictor is {config.predictor!r}, which learns from losses, and none was shown before the first step; "
            "call jumps.observe(loss) before optimizer.step(), or set predictor='prior', which needs none"
        )


def check_together(together: Together, *, is_shown: bool) -> None:
    """Losses are shown in every process, or in none: what is decided by them is decided in all.

    Raises:
        UsageError: in some.
    """
    if len(set(together.all_of(is_shown))) > 1:
        raise UsageError(
            "losses were shown in some processes only; call jumps.observe(loss) in every process, or in none"
        )


def check_loaded(together: Together, step: int) -> None:
    """Every process goes on from the same update.

    Raises:
        CheckpointError: a state was loaded in some of them.
    """
    if len(set(together.all_of(step))) > 1:
        raise CheckpointError(
            f"processes are at different updates, this one at {step}; load the state of hpt.attach in every process"
        )


def _changed(group: Any) -> Sequence[str]:
    """Names of the settings of a group that are not at their default."""
    mine, default = group.to_dict(), type(group)().to_dict()
    return [name for name, value in mine.items() if value != default[name]]
