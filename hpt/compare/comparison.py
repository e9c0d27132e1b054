"""A comparison from plan to results: settings, cells, measures by workload and arm, and the files written from them.

    settings   trials of this comparison, or of an earlier one, or the workload's own
    best       the optimizer on which the other arms run, once all are tuned by themselves, or have run
    cells      run where they are missing
    readings   measures of every arm whose cells are there

The folder holds `comparison.json` (what was asked), `recipes/` (how each arm trains, and the trials behind it),
`cells/`, and what is written from them at the end.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.arms import DISJOINT_SEEDS, Arm
from hpt.compare.attempts import Attempts, Show
from hpt.compare.cells import Cell
from hpt.compare.cluster_run import ClusterRun
from hpt.compare.peers import Best
from hpt.compare.plan import Recipes
from hpt.compare.readings import TaskReading, find_bests, read
from hpt.compare.request import DEFAULT_BUDGET, TUNING_FOLDER, ComparisonFolder, ComparisonRequest
from hpt.compare.resolving import forecast, settled
from hpt.compare.runner import PRELOADED
from hpt.compare.search import Tuned
from hpt.compare.stopping import is_enough
from hpt.compare.suite import Task
from hpt.compare.summary import Circumstances, summarize
from hpt.compare.tables import sentences_of, tables_of, to_csv, to_markdown, trials_table
from hpt.compare.timings import run_timings
from hpt.compare.tuning import TuningCache, keep_settings, recipes_of, settings_of, tune, untuned
from hpt.machine import utc_now
from hpt.run.ownership import Manifest
from hpt.run.preflight import check_workloads


class ComparisonRun:
    """One part of a comparison in this process: run what is missing, then write what is there.

    Args:
        request: what is asked.
        folder: where it is kept.
        jobs: cells at once.
        show: opens a display.
        tell: is given a line that people want to read while it runs.

    Raises:
        UsageError: a workload, an arm or an optimizer is unknown.
        PrerequisiteError: the package of an optimizer is not installed.
    """

    def __init__(
        self,
        request: ComparisonRequest,
        folder: ComparisonFolder,
        *,
        jobs: int,
        show: Show,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.plan = request.plan()
        self._request, self._folder, self._jobs, self._tell = request, folder, jobs, tell
        self._attempts = Attempts(folder.cells, jobs=jobs, show=show)
        planned = request.begun().looks
        self._looks = None if planned is None else Looks(planned=planned)
        self._own, self._shared = (
            TuningCache(folder.recipes),
            TuningCache(Path(request.tuning_cache or TUNING_FOLDER)),
        )
        self._know()

    @property
    def failed(self) -> dict[str, str]:
        """Why cells have no result, by key."""
        return self._attempts.failed

    def check(self, *, figures: bool, device: str | None = None) -> None:
        """Refuse what would fail cell by cell, or after all cells.

        Args:
            figures: they will be drawn.
            device: where workloads are tried, if another machine runs the cells; None: where cells run.

        Raises:
            UsageError: a workload is unknown, or cannot be made with this data; a figure would replace somebody else's.
            PrerequisiteError: data or device is missing.
        """
        if figures:
            Manifest(self._folder.path / "figures", "figures")
        missing = [cell for cell in self._cells() if not self._folder.cells.has(cell)]
        if missing:
            check_workloads(
                [task.workload for task in self.plan.tasks],
                seeds={cell.seed for cell in missing},
                data=self.plan.data,
                device=device or self.plan.device,
                preload=PRELOADED,
            )

    def run(self) -> bool:
        """Tune if that was asked, then run all cells; True if it was interrupted."""
        try:
            if self._looks is None:
                self._run_cells()
            else:
                self._run_until_resolved(self._looks)
            wanted = self.plan.clocked_cells(self._recipes(), self._bests, self._request.clock or 0)
            run_timings(wanted, self._folder.cells, self._attempts)
        except KeyboardInterrupt:
            return True
        return False

    def run_elsewhere(self, cluster: ClusterRun) -> bool:
        """Have shards run all cells; times are not renewed. True if it was interrupted."""
        self.keep_recipes()
        interrupted = cluster.run()
        self.failed.update(cluster.failed)
        self._know()
        return interrupted

    def _run_cells(self) -> None:
        for _ in range(2):  # where nothing is tuned, the best optimizers are known after the cells
            for _ in range(2):  # optimizers by themselves and the hybrid, then what runs on the best of them
                self._settle()
            self._attempts.run("cells", self._cells())
            self._know()

    def _run_until_resolved(self, looks: Looks) -> None:
        """Seed by seed, from the first look on, until every question is settled; the plan is told after the pilot."""
        resolution, seeds = self._request.resolve or 0.0, self.plan.seeds
        for count in range(FIRST_LOOK, len(seeds) + 1):
            self.plan = replace(self.plan, seeds=seeds[:count])
            self._run_cells()
            readings = self._readings()
            if count == FIRST_LOOK:
                for line in forecast(readings, resolution, looks, self._seed_s(), jobs=self._jobs):
                    self._tell(line)
            if is_enough(settled(readings, resolution, looks)):
                return

    def _seed_s(self) -> list[float]:
        """Training seconds of each cell of the first seed, from which the time of further seeds is told."""
        first = [cell for cell in self._cells() if cell.seed % DISJOINT_SEEDS == self.plan.seeds[0]]
        results = [self._folder.cells.load(cell) for cell in first]
        return [result.train_s for result in results if result is not None]

    def _settle(self) -> None:
        """Tune, if that was asked, what is known to run, and keep the settings."""
        if self._request.tune:
            run = partial(self._attempts.run, "tuning trials")
            places = untuned(self.plan, self._bests, self._settings)
            tune(self.plan, places, self._folder.cells, run, self._keep_tuned)
        self.keep_recipes()
        self._know()

    def _keep_tuned(self, task: Task, arm: Arm, tuned: Tuned) -> None:
        """In its own folder first: what is found only in the other one was tuned elsewhere."""
        self._settings[task.workload, arm.name] = tuned
        self._own.store(self.plan, task, arm, tuned)
        self._shared.store(self.plan, task, arm, tuned)

    def keep_recipes(self) -> None:
        """Store the recipes that are known, so that cells run by them wherever they run.

        Raises:
            DiskError: the disk is full, or the place cannot be written.
        """
        keep_settings(self.plan, self._bests, self._settings, self._own)

    def _know(self) -> None:
        """Settings and best optimizers, as far as they are stored; each needs the other, a step at a time."""
        self._bests: dict[str, Best] = {}
        for _ in range(2):
            self._settings = settings_of(
                self.plan, self._bests, self._own, self._shared, tunes=bool(self._request.tune)
            )
            self._bests = find_bests(self.plan, self._settings, self._folder.cells)
        self._settings = settings_of(self.plan, self._bests, self._own, self._shared, tunes=bool(self._request.tune))

    def _recipes(self) -> Recipes:
        return recipes_of(self.plan, self._bests, self._settings)

    def _cells(self) -> list[Cell]:
        return self.plan.cells(self._recipes(), self._bests)

    def _readings(self) -> list[TaskReading]:
        return read(self.plan, self._bests, self._settings, self._folder.cells)

    def conclude(self, command: list[str], *, figures: bool) -> dict[str, Any]:
        """Measure what is there, write summary, tables and figures, and return the summary."""
        readings = self._readings()
        about = Circumstances(
            command=command,
            finished_at=utc_now(),
            budget=self._request.budget or DEFAULT_BUDGET,
            jobs=self._jobs,
            failed=self.failed,
            complete=all(map(self._folder.cells.has, self._cells())),
            resolution=self._request.resolve,
            looks=self._looks,
        )
        summary = summarize(self.plan, self._settings, readings, about)
        tables = [*tables_of(summary), trials_table(summary)]
        self._folder.write(summary, to_markdown(tables, sentences_of(summary)), to_csv(summary))
        if figures and any(reading.measures for reading in readings):
            from hpt.compare.figures import draw_all  # noqa: PLC0415 - matplotlib takes a second to import

            draw_all(summary, self._folder.path / "figures")
        return summary
