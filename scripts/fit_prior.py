"""The prior of what jumps are worth, and how forks are read, from stored runs: writes hpt/learned/prior.json.

A kind's mean is that of its runs, with each policy, and without jumps, at the best of the rates that were run, as users
tune it. Its spread is what a further run of the kind would have about it: scatter of the kind's runs, shrunk to the
scatter within all kinds, and the error of the mean. A family's spread has the scatter between its kinds as well, that
of `any` the scatter between families: the less is known, the wider, and the sooner a fork pays.

Where jumps that end early were worth more than the best through the whole window, by two standard errors, a kind's
entry is that of those runs, and says where they ended. Of runs through the whole window those of the group `pairs`
count; of runs that ended early all do, every workload as much as another, however many seeds it has.

    python scripts/fit_prior.py --runs runs/policies
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measure_policies import LONGER, PAIRS
from policy_study import EARLY_END_FRAC, NAMES, FloatArray, Setting, load, per_loss, value_of

from hpt.jsonfiles import write_json
from hpt.learned.prior import ANY, PATH
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.traits import RunTraits, traits_of
from hpt.workloads.inner import inner_optimizers
from hpt.workloads.registry import load_workload

PSEUDO_RUNS = 4.0  # that the scatter within all kinds counts as, beside a kind's own
NUM_ERRORS = 2.0  # standard errors by which ending early must beat the whole window
LEAST_SD, LEAST_CORRELATION = 0.05, 0.7  # of the scatter within kinds: eleven pairs do not tell it any better
NUM_JUMPS, SETTLE_STEPS = 3, 60


class Row(NamedTuple):
    """A run's name and workload, and the worths of the policies in it."""

    name: str
    workload: str
    worth: FloatArray


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of measure_policies.py")
    parser.add_argument("--out", type=Path, default=PATH)
    arguments = parser.parse_args()
    settings = load(arguments.runs, LONGER)
    pairs = [one for one in settings if is_pair(one)]
    if not pairs:
        sys.exit("--runs holds no setting with every policy and a longer run; run measure_policies.py")
    document: dict[str, Any] = {
        "schema_version": 1,
        "made_by": "scripts/fit_prior.py",
        "policies": list(NAMES),
        "unit": "log work ratio of playing a policy through the whole window",
        "entries": entries(pairs, settings),
        "forks": fork_reading(pairs),
    }
    write_json(arguments.out, document)
    for name, entry in document["entries"].items():
        sds = np.sqrt(np.diag(np.array(entry["covariance"])))
        row = "  ".join(
            f"{policy} {mean:+.3f} +- {sd:.3f}" for policy, mean, sd in zip(NAMES, entry["mean"], sds, strict=True)
        )
        print(f"{name:18s} {len(entry['runs']):3d} runs  {row}")


def is_pair(setting: Setting) -> bool:
    """Of the group `pairs`."""
    return (setting.workload, setting.steps) in PAIRS


def traits(setting: Setting) -> RunTraits:
    """Of a setting's runs."""
    workload = load_workload(setting.workload, seed=0, data=None, device=torch.device("cpu"))
    model = workload.build_model()
    return traits_of(model, InnerOptimizer(inner_optimizers(workload, model, setting.optimizer, setting.steps)))


def entries(whole: Sequence[Setting], early: Sequence[Setting] = ()) -> dict[str, Any]:
    """By kind, family and for any run: mean, covariance and the runs behind them.

    Args:
        whole: settings whose runs with jumps through the whole window count.
        early: those whose runs with jumps that ended early do.
    """
    kinds: dict[str, list[Row]] = defaultdict(list)
    families: dict[str, str] = {}
    for setting in whole:
        found = traits(setting)
        families[found.kind] = found.family
        kinds[found.kind] += rows_of(setting, setting.tuned_worth, setting.rates)
    means = {kind: np.mean([row.worth for row in rows], axis=0) for kind, rows in kinds.items()}
    within = floored(pooled([np.array([row.worth for row in rows]) for rows in kinds.values()]))
    result: dict[str, Any] = {}
    for kind, rows in kinds.items():
        result[kind] = entry_of_kind(rows, within)
    between = between_kinds(families, means)
    for family, members in members_of(families).items():
        mean = np.mean([means[kind] for kind in members], axis=0)
        own = np.mean([result[kind]["covariance"] for kind in members], axis=0)
        spread = own + between * (1.0 + 1.0 / len(members))
        result[family] = entry(mean, spread, [row.name for kind in members for row in kinds[kind]])
    tops = np.array([result[family]["mean"] for family in members_of(families)])
    widest = np.mean([result[family]["covariance"] for family in members_of(families)], axis=0)
    spread = widest + pooled([tops]) * (1.0 + 1.0 / len(tops))
    result[ANY] = entry(tops.mean(axis=0), spread, [row.name for rows in kinds.values() for row in rows])
    ended: dict[str, list[Row]] = defaultdict(list)
    for setting in early:
        ended[traits(setting).kind] += rows_of(setting, setting.early_worth, setting.early_rates)
    for kind, rows in ended.items():
        if kind in means and ends_early(rows, max(0.0, float(means[kind].max()))):
            result[kind] = entry_of_kind(rows, within) | {"window_end_frac": EARLY_END_FRAC}
    return result


def rows_of(setting: Setting, worths: Mapping[int, FloatArray], rates: Sequence[float]) -> list[Row]:
    """A name and the worths of each seed."""
    factors = " or ".join(f"x{rate:g}" for rate in rates)
    stem = f"{setting.workload.rpartition(':')[2]} {setting.optimizer} {factors} T={setting.steps}"
    return [Row(f"{stem} seed {seed}", setting.workload, worth) for seed, worth in sorted(worths.items())]


def entry_of_kind(rows: Sequence[Row], within: FloatArray) -> dict[str, Any]:
    """Mean over its workloads, scatter of runs shrunk to that within all kinds, and the error of the mean."""
    mean, covariance, num_runs = moments(rows)
    scatter = num_runs * covariance
    own = (PSEUDO_RUNS * within + scatter) / (PSEUDO_RUNS + num_runs - 1.0)
    return entry(mean, own * (1.0 + 1.0 / num_runs), [row.name for row in rows])


def moments(rows: Sequence[Row]) -> tuple[FloatArray, FloatArray, float]:
    """Mean (A,), covariance about it (A, A) and effective number of runs, every workload with the same weight."""
    sizes = Counter(row.workload for row in rows)
    weights = np.array([1.0 / (len(sizes) * sizes[row.workload]) for row in rows])
    worths = np.array([row.worth for row in rows])
    mean = weights @ worths
    deviations = worths - mean
    return mean, (deviations.T * weights) @ deviations, 1.0 / float(weights @ weights)


def ends_early(rows: Sequence[Row], best: float) -> bool:
    """Some policy that ends early is worth more than the best through the whole window, in the mean over seeds."""
    if len(rows) < 2:
        return False
    mean, covariance, num_runs = moments(rows)
    errors = np.sqrt(np.diag(covariance) / (num_runs - 1.0))
    return bool((mean - NUM_ERRORS * errors > best).any())


def between_kinds(families: dict[str, str], means: dict[str, FloatArray]) -> FloatArray:
    """Covariance of kinds about their family; about all, where no family has two kinds."""
    groups = [np.array([means[kind] for kind in members]) for members in members_of(families).values()]
    return pooled(groups if any(len(group) > 1 for group in groups) else [np.concatenate(groups)])


def members_of(families: dict[str, str]) -> dict[str, list[str]]:
    """Kinds of each family."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind, family in families.items():
        found[family].append(kind)
    return found


def entry(mean: FloatArray, covariance: FloatArray, runs: list[str]) -> dict[str, Any]:
    """As it is stored."""
    return {"mean": np.round(mean, 5).tolist(), "covariance": np.round(covariance, 6).tolist(), "runs": sorted(runs)}


def pooled(groups: Sequence[FloatArray]) -> FloatArray:
    """Covariance (A, A) about each group's own mean, of rows (n, A); zeros where no group has two."""
    spare = sum(len(rows) - 1 for rows in groups)
    squares: Any = sum((rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0)) for rows in groups)
    return squares / max(spare, 1)


def floored(covariance: FloatArray) -> FloatArray:
    """No narrower than LEAST_SD in any direction that goes together as LEAST_CORRELATION has it."""
    size = len(covariance)
    least = LEAST_SD**2 * (LEAST_CORRELATION + (1.0 - LEAST_CORRELATION) * np.eye(size))
    return covariance + least


def fork_reading(settings: Sequence[Setting]) -> dict[str, Any]:
    """Least squares of what forks measured on what the policies turned out to be worth, policy by policy.

    No policy is believed to be read better than all are on average: there are few settings to tell them apart by.
    """
    pairs: dict[int, list[tuple[float, float, float]]] = defaultdict(list)  # worth, measured, its own variance
    for setting in settings:
        for fork in setting.forks:
            if fork["num_jumps"] != NUM_JUMPS or fork["seed"] not in setting.worth or not fork["fall"]:
                continue
            factor = per_loss(setting, fork)
            for place, name in enumerate(NAMES):
                value = value_of(fork, name, SETTLE_STEPS)
                if not value.is_broken:
                    worth = float(setting.worth[fork["seed"]][place])
                    pairs[place].append((worth, value.value * factor, (value.value_se * factor) ** 2))
    fits = [fit(pairs[place]) for place in range(len(NAMES))]
    offset, scale, own = (np.round(row, 5) for row in zip(*fits, strict=True))
    variance = np.round(np.maximum(own, own.mean()), 5)
    return {
        "num_jumps": NUM_JUMPS,
        "settle_steps": SETTLE_STEPS,
        "offset": offset.tolist(),
        "scale": scale.tolist(),
        "variance": variance.tolist(),
        "num_forks": len(pairs[0]),
    }


def fit(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Offset, scale and residual variance (less what the forks' own errors explain) of measured on worth."""
    worth, measured, own = np.array(rows).T
    centred = worth - worth.mean()
    scale = float(centred @ measured / (centred @ centred))
    offset = float(measured.mean() - scale * worth.mean())
    left = measured - offset - scale * worth
    variance = float(left @ left / max(1, len(rows) - 2)) - float(own.mean())
    return offset, scale, max(variance, 0.25 * float(left.var()))


if __name__ == "__main__":
    main()
