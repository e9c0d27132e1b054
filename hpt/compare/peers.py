"""Inner optimizers beside each other: which are compared, and which of them is the best by itself.

The best is chosen per workload by the tuning trials, which ran on a seed that is never reported, so that the choice
does not flatter what is measured afterwards. Where nothing was tuned it is chosen by the final losses of the very seeds
that are compared, and the result says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hpt.compare.search import SEARCHED, best_trial, mean_loss
from hpt.errors import UsageError
from hpt.optimizers.catalogue import OWN, why_no_jumps

ADAMW = "adamw"
ONLY = "no other was compared"
BY_TRIALS = "tuning trials"
BY_SEEDS = "final losses of the seeds compared"
LEAST_IN_COMMON = 2
"""Trials at the same recipe: a single one may end alike by chance, where losses are rounded."""


def optimizers_of(names: str | None) -> tuple[str, ...]:
    """Inner optimizers from a comma-separated list, AdamW first; the first one is the reference.

    Raises:
        UsageError: one is unknown, or given twice.
        PrerequisiteError: the package of one is not installed.
    """
    if names is None:
        return (OWN,)
    wanted = [one.strip() for one in names.split(",") if one.strip()]
    if not wanted or len(set(wanted)) < len(wanted):
        raise UsageError(f"--optimizers is {names!r}; it must name each optimizer once, and at least one")
    for one in wanted:
        try:
            why_no_jumps(one)
        except UsageError as error:
            raise UsageError(f"--optimizers names {one!r}: {error}") from error
    return tuple(sorted(wanted, key=lambda one: one != ADAMW))


@dataclass(frozen=True, slots=True)
class Best:
    """The best inner optimizer of a workload by itself.

    Attributes:
        optimizer: its name.
        chosen_by: `BY_TRIALS`, `BY_SEEDS` or `ONLY`.
    """

    optimizer: str
    chosen_by: str


def best_by_trials(trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> Best | None:
    """By the loss of the trial that each has its settings from; None if one of the optimizers has none.

    Args:
        trials: by optimizer, as `tuning.Tuned` keeps them.
    """
    if not all(trials.values()):
        return None
    lowest = {name: mean_loss(best_trial(each)) for name, each in trials.items()}
    return Best(min(lowest, key=lowest.__getitem__), BY_TRIALS)


def best_by_losses(losses: Mapping[str, Sequence[float]]) -> Best | None:
    """By the mean final loss over the seeds that all optimizers have; None if one of them has no seed yet."""
    if not all(losses.values()):
        return None
    means = {name: fmean(each) for name, each in losses.items()}
    return Best(min(means, key=means.__getitem__), BY_SEEDS)


def trained_alike(trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Optimizers that trained exactly as an earlier one did, by the earlier one: `muon` where no matrix is hidden.

    Every trial that both made at the same recipe ended in the same loss, to the last bit, and there were two at least
    that did not diverge.

    Args:
        trials: by optimizer, as `tuning.Tuned` keeps them.
    """
    found: dict[str, str] = {}
    for later, name in enumerate(trials):
        for earlier in list(trials)[:later]:
            both = _losses_of_both(trials[earlier], trials[name])
            if len(both) >= LEAST_IN_COMMON and all(one == other for one, other in both):
                found.setdefault(name, earlier)
    return found


def _losses_of_both(
    some: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> list[tuple[float | None, float | None]]:
    """Losses at the recipes that are in both."""

    def by_recipe(each: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], float | None]:
        return {tuple(one[name] for name in SEARCHED): one["loss"] for one in each}

    first, second = by_recipe(some), by_recipe(others)
    both = [(first[recipe], second[recipe]) for recipe in first.keys() & second.keys()]
    return [losses for losses in both if losses != (None, None)]
