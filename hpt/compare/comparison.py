"""A comparison from plan to verdicts: settings, cells, results by workload and arm.

    settings   trials of this comparison, or of an earlier one, or the workload's own
    cells      run where they are missing
    readings   measures of every arm whose cells are there

The folder holds `comparison.json` (what was asked), `cells/`, and what is written from them at the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from hpt.compare.arms import BASELINE, Arm
from hpt.compare.cells import Cell, CellFolder, CellResult, Recipe
from hpt.compare.measures import Measures, measure
from hpt.compare.placement import Baseline
from hpt.compare.suite import Plan, Task
from hpt.compare.tuning import UNTUNED, Search, Tuned, TuningCache, loss_of, trial_cell

Settings = dict[tuple[str, str], Tuned]
RunCells = Callable[[Sequence[Cell]], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
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


def has_schedulefree() -> bool:
    """The optional package is installed."""
    return find_spec("schedulefree") is not None


def settings_of(plan: Plan, cache: TuningCache) -> Settings:
    """Settings known before any trial: those of earlier tunings, or the workload's own."""
    return {
        (task.workload, arm.name): cache.load(plan, task, arm) or UNTUNED
        for task in plan.tasks
        for arm in plan.tuned_arms()
    } | {(task.workload, BASELINE): _baseline_of(plan, task, cache) for task in plan.tasks}


def _baseline_of(plan: Plan, task: Task, cache: TuningCache) -> Tuned:
    arm = next(arm for arm in plan.arms if arm.name == BASELINE)
    return cache.load(plan, task, arm) or UNTUNED


def tune(plan: Plan, folder: CellFolder, run_cells: RunCells, cache: TuningCache) -> Settings:
    """Settings after trials: all arms and workloads in step, so that rounds fill all jobs.

    Returns:
        Settings by (workload, arm); a search whose every trial failed leaves the workload's own.
    """
    found = settings_of(plan, cache)
    open_searches = {
        (task, arm.name): (arm, Search())
        for task in plan.tasks
        for arm in plan.tuned_arms()
        if found[task.workload, arm.name].source == "workload"
    }
    while open_searches:
        rounds = {
            place: [trial_cell(plan, place[0], arm, recipe) for recipe in search.ask()]
            for place, (arm, search) in open_searches.items()
        }
        run_cells([cell for cells in rounds.values() for cell in cells])
        for (task, name), cells in rounds.items():
            arm, search = open_searches[task, name]
            if cells:
                search.tell([loss_of(folder.load(cell)) for cell in cells])
                continue
            found[task.workload, name] = search.outcome()
            cache.store(plan, task, arm, found[task.workload, name])
            del open_searches[task, name]
    return found


def recipes_of(plan: Plan, settings: Settings) -> dict[tuple[str, str], Recipe]:
    """Tuned recipes by (workload, arm they are used `like`)."""
    likes = {arm.like for arm in plan.arms}
    names = [(task.workload, like) for task in plan.tasks for like in likes]
    return {
        (workload, like): settings.get((workload, like), settings[workload, BASELINE]).recipe
        for workload, like in names
    }


def read(plan: Plan, settings: Settings, folder: CellFolder) -> list[Reading]:
    """Measure everything whose cells are there."""
    recipes = recipes_of(plan, settings)
    return [_read_task(plan, task, recipes, folder) for task in plan.tasks]


def _read_task(plan: Plan, task: Task, recipes: Mapping[tuple[str, str], Recipe], folder: CellFolder) -> Reading:
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
    return Reading(task=task, baseline=baseline_of(task, base, plan.seeds), arms=measured, results=results)


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
