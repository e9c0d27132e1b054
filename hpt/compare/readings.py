"""What is known of a workload from its cells: the baseline, measures of every arm, and what its seeds show together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from hpt.compare.arms import BASELINE, Arm
from hpt.compare.cells import CellFolder, CellResult, Recipe
from hpt.compare.measures import Measures, measure
from hpt.compare.placement import Baseline
from hpt.compare.suite import ComparisonPlan, Task
from hpt.compare.tuning import TunedSettings, recipes_of

Results = Mapping[int, CellResult]
"""Of one arm, by the pair's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReading:
    """What is known of one workload.

    Attributes:
        task: workload and T.
        baseline: its cells, None if T itself is not complete for any seed.
        arms: measures by name; arms without any complete pair are missing.
        results: the arms' cells by name and the pair's seed.
    """

    task: Task
    baseline: Baseline | None
    arms: dict[str, Measures]
    results: dict[str, dict[int, CellResult]]


def read(plan: ComparisonPlan, settings: TunedSettings, folder: CellFolder) -> list[TaskReading]:
    """Measure everything whose cells are there."""
    recipes = recipes_of(plan, settings)
    return [_read_task(plan, task, recipes, folder) for task in plan.tasks]


def _read_task(
    plan: ComparisonPlan, task: Task, recipes: Mapping[tuple[str, str], Recipe], folder: CellFolder
) -> TaskReading:
    cells = plan.baseline_cells(task, recipes[task.workload, BASELINE])
    loaded = {place: folder.load(cell) for place, cell in cells.items()}
    base = {place: result for place, result in loaded.items() if result is not None}
    results: dict[str, dict[int, CellResult]] = {}
    measured: dict[str, Measures] = {}
    for arm in plan.arms:
        if arm.name == BASELINE:
            continue
        wanted = plan.arm_cells(task, arm, recipes[task.workload, arm.like])
        found = {seed: folder.load(cell) for seed, cell in wanted.items()}
        results[arm.name] = {seed: result for seed, result in found.items() if result is not None}
        measures = _measure(arm, task, base, results[arm.name])
        if measures is not None:
            measured[arm.name] = measures
    results[BASELINE] = {seed: result for (steps, seed), result in base.items() if steps == task.steps}
    return TaskReading(task=task, baseline=baseline_of(task, base, plan.seeds), arms=measured, results=results)


def baseline_of(task: Task, base: Mapping[tuple[int, int], CellResult], seeds: Sequence[int]) -> Baseline | None:
    """The baseline on the seeds that have a cell at T; lengths that miss one of these seeds are left out."""
    present = tuple(seed for seed in seeds if (task.steps, seed) in base)
    lengths = sorted({steps for steps, _ in base})
    whole = [steps for steps in lengths if all((steps, seed) in base for seed in present)]
    if not present:
        return None
    at = {steps: tuple(base[steps, seed] for seed in present) for steps in whole}
    found = Baseline(steps=task.steps, seeds=present, at=at)
    return found if found.is_usable else None


def _measure(
    arm: Arm, task: Task, base: Mapping[tuple[int, int], CellResult], results: Mapping[int, CellResult]
) -> Measures | None:
    baseline = baseline_of(task, base, sorted(results))
    if baseline is None:
        return None
    return measure(arm, baseline, [results[seed] for seed in baseline.seeds])


def training_curve(results: Results) -> list[list[float]]:
    """Training loss over work: mean, lowest and highest over seeds, point by point."""
    curves = [result.curve for result in results.values() if result.curve]
    if not curves:
        return []
    length = min(len(curve) for curve in curves)
    points = np.asarray([curve[:length] for curve in curves], dtype=np.float64)
    work, losses = points[:, :, 0].mean(axis=0), points[:, :, 1]
    rows = np.stack([work, losses.mean(axis=0), losses.min(axis=0), losses.max(axis=0)], axis=1)
    return rows.tolist()


def reliability(results: Results) -> list[dict[str, float]] | None:
    """Outcomes, mean confidence and share of good outcomes by bin, all seeds together."""
    tables = [(result.confidence or {}).get("table") for result in results.values()]
    rows = [row for table in tables for row in table or []]
    bins: dict[float, list[float]] = {}
    for row in rows:
        if row["count"]:
            total = bins.setdefault(row["low"], [0.0, 0.0, 0.0])
            total[0] += row["count"]
            total[1] += row["count"] * row["mean_probability"]
            total[2] += row["count"] * row["frequency"]
    return [
        {"low": low, "count": count, "mean_confidence": confidence / count, "good_frac": good / count}
        for low, (count, confidence, good) in sorted(bins.items())
    ] or None


def forecast_scores(results: Results) -> dict[str, dict[str, Any]] | None:
    """Of every loss forecaster: mean over seeds of its negative log-likelihood, by seed, and outcomes scored."""
    tables = {seed: result.scores for seed, result in results.items() if result.scores}
    found: dict[str, dict[str, Any]] = {}
    for name in next(iter(tables.values()), {}):
        by_seed = {seed: table.get(name, {}).get("nll_mean") for seed, table in tables.items()}
        known = [nll for nll in by_seed.values() if nll is not None]
        count = sum(table.get(name, {}).get("count", 0) for table in tables.values())
        found[name] = {"nll_mean": fmean(known) if known else None, "by_seed": by_seed, "count": count}
    return found or None


def fork_values(results: Results) -> dict[str, Any] | None:
    """What forks measured a jump to be worth: loss saved, mean over all, and each."""
    forks = [{"seed": seed, **fork} for seed, result in results.items() for fork in result.forks]
    return {"value_mean": fmean(fork["value"] for fork in forks), "forks": forks} if forks else None
