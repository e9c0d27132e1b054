"""What is known of a workload from its cells: the optimizers by themselves, measures of every arm, what seeds show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from hpt.compare.arms import Arm
from hpt.compare.cells import Cell, CellFolder, CellResult
from hpt.compare.measures import Measures, measure
from hpt.compare.peers import ONLY, Best, best_by_losses
from hpt.compare.placement import Baseline
from hpt.compare.plan import Bests, ComparisonPlan, Recipes
from hpt.compare.same_data import REMEDY, SameData
from hpt.compare.suite import Task
from hpt.compare.tuning import TunedSettings, bests_by_trials, recipes_of
from hpt.documents import DocumentError

Results = Mapping[int, CellResult]
"""Of one arm, by the pair's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReading:
    """What is known of one workload.

    Attributes:
        task: workload and T.
        best: its best optimizer by itself, None if that is not known yet.
        arms: all that run on it, the reference by itself first.
        alone: each optimizer by itself; one without a complete seed at T is missing.
        measures: of every arm but the first against the reference by itself; arms without a complete pair are missing.
        own: the same against the arm's own optimizer by itself.
        results: the arms' cells by name and the pair's seed.
        every: all cells by the arm's name, those of an optimizer by itself at every length.
    """

    task: Task
    best: Best | None
    arms: list[Arm]
    alone: dict[str, Baseline]
    measures: dict[str, Measures]
    own: dict[str, Measures]
    results: dict[str, dict[int, CellResult]]
    every: dict[str, list[CellResult]]

    @property
    def baseline(self) -> Baseline | None:
        """Runs of the reference without jumps."""
        return self.alone.get(self.arms[0].optimizer)


def find_bests(plan: ComparisonPlan, settings: TunedSettings, folder: CellFolder) -> dict[str, Best]:
    """The best optimizer of every workload by itself: by trials, else by the seeds once all of them are there."""
    if len(plan.optimizers) == 1:
        return {task.workload: Best(plan.reference, ONLY) for task in plan.tasks}
    found = bests_by_trials(plan, settings)
    recipes = recipes_of(plan, found, settings)
    for task in plan.tasks:
        if task.workload not in found:
            losses = {one: _losses_at_full(plan, task, one, recipes, folder) for one in plan.optimizers}
            best = best_by_losses(losses)
            found |= {} if best is None else {task.workload: best}
    return found


def _losses_at_full(
    plan: ComparisonPlan, task: Task, optimizer: str, recipes: Recipes, folder: CellFolder
) -> list[float]:
    """One a seed, or none at all while a seed is missing."""
    cells = plan.alone_cells(task, optimizer, recipes)
    results = [folder.load(cells[task.steps, seed]) for seed in plan.seeds]
    return [result.loss for result in results if result is not None] if None not in results else []


def read(plan: ComparisonPlan, bests: Bests, settings: TunedSettings, folder: CellFolder) -> list[TaskReading]:
    """Measure every arm on the seeds whose cells are stored; one reading per workload, in the order of the plan.

    Raises:
        DocumentError: cells of one workload and seed were trained on different data, or a file is damaged.
    """
    recipes = recipes_of(plan, bests, settings)
    return [_read_task(plan, task, bests.get(task.workload), recipes, folder) for task in plan.tasks]


def _read_task(
    plan: ComparisonPlan, task: Task, best: Best | None, recipes: Recipes, folder: CellFolder
) -> TaskReading:
    arms, data = plan.arms_on(best), SameData()
    bases = {one: _loaded(plan.alone_cells(task, one, recipes), folder, data) for one in plan.optimizers}
    results = {arm.name: _loaded(plan.arm_cells(task, arm, recipes), folder, data) for arm in arms}
    every = {arm: list(found.values()) for arm, found in results.items()}
    every |= {plan.alone(one).name: list(base.values()) for one, base in bases.items()}
    measures: dict[str, Measures] = {}
    own: dict[str, Measures] = {}
    for arm in arms[1:]:
        found = {one: _measure(arm, task, bases[one], results[arm.name]) for one in {plan.reference, arm.optimizer}}
        measures |= _known(arm.name, found[plan.reference])
        if arm.role != "peer":
            own |= _known(arm.name, found[arm.optimizer])
    alone = {one: baseline_of(task, base, plan.seeds) for one, base in bases.items()}
    return TaskReading(
        task=task,
        best=best,
        arms=arms,
        alone={one: baseline for one, baseline in alone.items() if baseline is not None},
        measures=measures,
        own=own,
        results=results,
        every=every,
    )


def _known(name: str, measures: Measures | None) -> dict[str, Measures]:
    return {} if measures is None else {name: measures}


_Place = TypeVar("_Place")


def _loaded(cells: Mapping[_Place, Cell], folder: CellFolder, data: SameData) -> dict[_Place, CellResult]:
    """The stored results under the keys of `cells`; cells without a result are left out."""
    found: dict[_Place, CellResult] = {}
    for place, cell in cells.items():
        result = folder.load(cell)
        if result is None:
            continue
        objection = data.objection(cell, result)
        if objection is not None:
            raise DocumentError(folder.file_of(cell), objection, remedy=f"delete it, then {REMEDY}")
        found[place] = result
    return found


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
    """What forks measured policies to be worth: loss saved a jump, mean over the branches that held, and each."""
    forks = [{"seed": seed, **fork} for seed, result in results.items() for fork in result.forks]
    known = [float(fork["value"]) for fork in forks if math.isfinite(float(fork["value"]))]
    return {"value_mean": fmean(known) if known else None, "forks": forks} if forks else None


def decisions(results: Results) -> list[dict[str, Any]] | None:
    """The decisions of every seed's run, as in `run.json`, each with its seed; None if no run made any."""
    found = [
        {"seed": seed, **decision}
        for seed, result in results.items()
        for decision in (result.values or {}).get("decisions", [])
    ]
    return found or None
