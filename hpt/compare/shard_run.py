"""One shard of a comparison in this process: its recipes, then its missing cells, as far as they are settled.

No shard waits for another, takes a lock, or writes a summary. Each settles the recipes that are its own, by trials
where the comparison is tuned, and runs the cells that are its own; cells whose recipe another shard has not settled
yet stay missing, and are told.
"""

from functools import partial
from pathlib import Path

from hpt.compare.arms import Arm
from hpt.compare.attempts import Attempts, Show
from hpt.compare.cells import Cell, Recipe
from hpt.compare.request import TUNING_FOLDER, ComparisonFolder, ComparisonRequest
from hpt.compare.runner import PRELOADED
from hpt.compare.search import Trial, Tuned
from hpt.compare.shards import Shard
from hpt.compare.standing import Standing
from hpt.compare.suite import Task
from hpt.compare.tuning import Place, TuningCache, settings_of, trial_cell, tune
from hpt.run.preflight import check_workloads


class ShardRun:
    """A shard's part of a comparison.

    Args:
        request: as planned.
        folder: where the plan lies.
        shard: which part.
        jobs: cells at once.
        show: opens a display.

    Raises:
        UsageError: a workload, an arm or an optimizer is unknown.
        PrerequisiteError: the package of an optimizer is not installed.
    """

    def __init__(
        self, request: ComparisonRequest, folder: ComparisonFolder, shard: Shard, *, jobs: int, show: Show
    ) -> None:
        self.plan, self._shard, self._folder = request.plan(), shard, folder
        self._tunes = bool(request.tune)
        self._own = TuningCache(folder.recipes)
        self._shared = TuningCache(Path(request.tuning_cache or TUNING_FOLDER))
        self._attempts = Attempts(folder.cells, jobs=jobs, show=show, in_company=True)

    @property
    def failed(self) -> dict[str, str]:
        """Why cells have no result, by key."""
        return self._attempts.failed

    def standing(self) -> Standing:
        """How far the comparison is at this moment."""
        return Standing(self.plan, self._own, self._folder.cells, tunes=self._tunes)

    def work(self, standing: Standing) -> tuple[list[Place], list[Cell]]:
        """What is its own to settle, and to run; neither what waits for another shard nor what failed."""
        return self._places(standing), self.missing(standing)

    def check(self) -> None:
        """Refuse what would fail cell by cell.

        Raises:
            UsageError: a workload cannot be made with this data.
            PrerequisiteError: data or device is missing.
        """
        if any(self.work(self.standing())):
            check_workloads(
                [task.workload for task in self.plan.tasks],
                seeds=self.plan.seeds,
                data=self.plan.data,
                device=self.plan.device,
                preload=PRELOADED,
            )

    def run(self) -> bool:
        """Do what there is to do; True if it was interrupted.

        Raises:
            DiskError: results cannot be stored.
        """
        try:
            while self._settle() or self._run_cells():
                pass
        except KeyboardInterrupt:
            return True
        return False

    def _places(self, standing: Standing) -> list[Place]:
        """Its own among those whose recipes are not settled, named after the first trial, which holds what decides."""
        return [
            (task, arm)
            for task, arm in standing.open_places
            if self._shard.has(trial_cell(self.plan, task, arm, Trial(Recipe())).key)
        ]

    def missing(self, standing: Standing) -> list[Cell]:
        """Its own cells that are not there and did not fail."""
        return [cell for cell in standing.missing() if self._shard.has(cell.key) and cell.key not in self.failed]

    def _settle(self) -> bool:
        """Settle its own recipes; False if there was none."""
        standing = self.standing()
        places = self._places(standing)
        if not places:
            return False
        known = settings_of(self.plan, standing.bests, self._own, self._shared, tunes=self._tunes)
        searched: list[Place] = []
        for task, arm in places:
            settings = known[task.workload, arm.name]
            if self._tunes and settings.source == "workload":
                searched.append((task, arm))
            else:
                self._own.store(self.plan, task, arm, settings)
        run = partial(self._attempts.run, "tuning trials")
        tune(self.plan, searched, self._folder.cells, run, self._keep)
        return True

    def _keep(self, task: Task, arm: Arm, tuned: Tuned) -> None:
        self._own.store(self.plan, task, arm, tuned)
        self._shared.store(self.plan, task, arm, tuned)

    def _run_cells(self) -> bool:
        """Run its own missing cells; False if there was none."""
        cells = self.missing(self.standing())
        if cells:
            self._attempts.run("cells", cells)
        return bool(cells)
