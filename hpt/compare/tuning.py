"""Settings of a comparison: from trials, as many for every optimizer by itself as for every arm a claim is made for.

Trials run at length T on two seeds that are never reported (`search` says which). The outcome is kept by everything
that decides it, in the comparison's own folder and in one that comparisons share. The own folder has the last word:
what is tuned elsewhere in the meantime changes no recipe of a comparison.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from hpt.compare.arms import DISJOINT_SEEDS, Arm
from hpt.compare.cells import Cell, CellFolder, CellResult, Recipe
from hpt.compare.peers import Best, best_by_trials
from hpt.compare.plan import Bests, ComparisonPlan
from hpt.compare.search import NUM_FINALISTS, NUM_TRIALS, UNTUNED, Search, Trial, Tuned
from hpt.compare.suite import Task
from hpt.documents import Version1, read_document
from hpt.jsonfiles import disk_errors, write_json

TUNING_SCHEMA_VERSION = 1
TUNING_SEED = 2 * DISJOINT_SEEDS
PLAYOFF_SEED = TUNING_SEED + 1
TunedSettings = dict[tuple[str, str], Tuned]
"""By workload and arm."""
Place = tuple[Task, Arm]
"""What settings are for."""
KeepTuned = Callable[[Task, Arm, Tuned], None]
"""Stores the outcome of a search."""
RunCells = Callable[[Sequence[Cell]], Mapping[str, str]]
"""Brings cells to completion; returns why any failed, by key."""


class _Stored(TypedDict):
    schema_version: Version1
    tuned: Tuned


def trial_cell(plan: ComparisonPlan, task: Task, arm: Arm, trial: Trial) -> Cell:
    """The run of one tuning trial: the arm's cell with the trial's recipe, on a seed kept for tuning."""
    seed = PLAYOFF_SEED if trial.is_playoff else TUNING_SEED
    cell = plan.cell(task, arm, seed, task.steps, arm.recipe(trial.recipe))
    return replace(cell, arm=f"{arm.name}-trial", seed=seed)


def loss_of(result: CellResult | None) -> float:
    """Final loss of a trial; infinite if it diverged or has no result."""
    return math.inf if result is None else result.loss


class TuningCache:
    """Recipes and the trials that they come from, one file each.

    Args:
        folder: made when the first outcome is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _file_of(self, plan: ComparisonPlan, task: Task, arm: Arm, num_trials: int) -> Path:
        """Named after the first trial, which holds all that decides the search but the numbers of trials."""
        first = trial_cell(plan, task, arm, Trial(Recipe()))
        text = json.dumps([TUNING_SCHEMA_VERSION, num_trials, NUM_FINALISTS, asdict(first)], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return self._folder / f"{first.key.rpartition('-n')[0]}-n{task.steps}-{digest}.json"

    def load(self, plan: ComparisonPlan, task: Task, arm: Arm, num_trials: int = NUM_TRIALS) -> Tuned | None:
        """An earlier outcome, None if there is none.

        Raises:
            DocumentError: its file is damaged.
        """
        path = self._file_of(plan, task, arm, num_trials)
        if not path.exists():
            return None
        return read_document(path, _Stored, remedy="delete it and tune again")["tuned"]

    def store(self, plan: ComparisonPlan, task: Task, arm: Arm, tuned: Tuned, num_trials: int = NUM_TRIALS) -> None:
        """Keep an outcome.

        Raises:
            DiskError: the disk is full, or the place cannot be written.
        """
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        path = self._file_of(plan, task, arm, num_trials)
        write_json(path, {"schema_version": TUNING_SCHEMA_VERSION, "tuned": tuned.to_document()})


def settings_of(
    plan: ComparisonPlan, bests: Bests, own: TuningCache, shared: TuningCache, *, tunes: bool
) -> TunedSettings:
    """Settings known before any trial: the comparison's own, those of other comparisons, or the workload's.

    Args:
        plan: of the comparison.
        bests: the best optimizers as far as they are known.
        own: kept in its folder.
        shared: with other comparisons.
        tunes: it is to be tuned, so that its own settings do not hold where they were not.
    """
    found: TunedSettings = {}
    for task, arm in tuned_places(plan, bests):
        kept = own.load(plan, task, arm)
        if kept is None or (tunes and kept.source == "workload"):
            elsewhere = shared.load(plan, task, arm)
            kept = UNTUNED if elsewhere is None else replace(elsewhere, source="cached")
        found[task.workload, arm.name] = kept
    return found


def keep_settings(plan: ComparisonPlan, bests: Bests, settings: TunedSettings, own: TuningCache) -> None:
    """Store the recipes that the cells are about to be run by.

    Raises:
        DiskError: the disk is full, or the place cannot be written.
    """
    for task, arm in tuned_places(plan, bests):
        own.store(plan, task, arm, settings[task.workload, arm.name])


def tuned_places(plan: ComparisonPlan, bests: Bests) -> list[Place]:
    """Where there are settings: each workload's optimizers by themselves, and the arms that are tuned."""
    places = [(task, arm) for task in plan.tasks for arm in plan.arms_on(bests.get(task.workload))]
    return [(task, arm) for task, arm in places if arm.is_tuned]


def trials_alone(plan: ComparisonPlan, settings: TunedSettings, workload: str) -> dict[str, list[dict[str, Any]]]:
    """The tuning trials of each inner optimizer by itself on a workload; none where it was not tuned."""
    places = {one: (workload, plan.alone(one).name) for one in plan.optimizers}
    return {one: settings[place].trials if place in settings else [] for one, place in places.items()}


def bests_by_trials(plan: ComparisonPlan, settings: TunedSettings) -> dict[str, Best]:
    """The best optimizer by itself of every workload on which all were tuned."""
    found: dict[str, Best] = {}
    for task in plan.tasks:
        best = best_by_trials(trials_alone(plan, settings, task.workload))
        if best is not None:
            found[task.workload] = best
    return found


def untuned(plan: ComparisonPlan, bests: Bests, settings: TunedSettings) -> list[Place]:
    """Where trials are still to be run, if it is tuned at all."""
    places = tuned_places(plan, bests)
    return [(task, arm) for task, arm in places if settings[task.workload, arm.name].source == "workload"]


def tune(
    plan: ComparisonPlan, places: Sequence[Place], folder: CellFolder, run_cells: RunCells, keep: KeepTuned
) -> None:
    """Search for settings by trials: all arms and workloads in step, so that rounds fill all jobs.

    Args:
        plan: of the comparison.
        places: where to search.
        folder: of the trials' cells.
        run_cells: brings trials to completion.
        keep: told of each outcome as its search ends.
    """
    open_searches = {(task, arm.name): (arm, Search()) for task, arm in places}
    while open_searches:
        rounds = {
            place: [trial_cell(plan, place[0], arm, trial) for trial in search.ask()]
            for place, (arm, search) in open_searches.items()
        }
        run_cells([cell for cells in rounds.values() for cell in cells])
        for (task, name), cells in rounds.items():
            arm, search = open_searches[task, name]
            if cells:
                search.tell([loss_of(folder.load(cell)) for cell in cells])
                continue
            keep(task, arm, search.outcome())
            del open_searches[task, name]


def tuned_for(plan: ComparisonPlan, settings: TunedSettings, workload: str, arm: Arm) -> Tuned:
    """Settings of the arm that this one is `like`, or of its optimizer by itself if that one has none."""
    return settings[settings_place(plan, settings, workload, arm)]


def settings_place(plan: ComparisonPlan, settings: TunedSettings, workload: str, arm: Arm) -> tuple[str, str]:
    """Key of tuned settings: name of the workload, name of the arm that was tuned."""
    like = (workload, arm.like)
    return like if like in settings else (workload, plan.alone(arm.optimizer).name)


def recipes_of(plan: ComparisonPlan, bests: Bests, settings: TunedSettings) -> dict[tuple[str, str], Recipe]:
    """Tuned recipes by (workload, arm they are used `like`); an arm without settings has those of its optimizer."""
    return {
        (task.workload, arm.like): tuned_for(plan, settings, task.workload, arm).recipe
        for task in plan.tasks
        for arm in plan.arms_on(bests.get(task.workload))
    }
