"""A comparison from plan to results: settings, cells, measures by workload and arm, and the files written from them.

    settings   trials of this comparison, or of an earlier one, or the workload's own
    best       the optimizer on which the other arms run, once all are tuned by themselves, or have run
    cells      run where they are missing
    readings   measures of every arm whose cells are there

The folder holds `comparison.json` (what was asked), `recipes/` (how each arm trains, and the trials behind it),
`cells/`, and what is written from them at the end.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.arms import DISJOINT_SEEDS
from hpt.compare.cells import Cell
from hpt.compare.peers import Best
from hpt.compare.plan import Recipes
from hpt.compare.readings import TaskReading, find_bests, read
from hpt.compare.request import DEFAULT_BUDGET, TUNING_FOLDER, ComparisonFolder, ComparisonRequest
from hpt.compare.resolving import forecast, settled
from hpt.compare.runner import PRELOADED, Watcher, run_cells
from hpt.compare.stopping import is_enough
from hpt.compare.summary import Circumstances, summarize
from hpt.compare.tables import sentences_of, tables_of, to_csv, to_markdown, trials_table
from hpt.compare.tuning import TuningCache, keep_settings, recipes_of, settings_of, tune
from hpt.machine import utc_now
from hpt.run.ownership import Manifest
from hpt.run.preflight import check_workloads

Show = Callable[[str, int], AbstractContextManager[Watcher]]
"""Opens a display for so many cells of a kind."""


class ComparisonRun:
    """One part of a comparison in this process: run what is missing, then write what is there.

    Args:
        request: what is asked.
        folder: where it is kept.
        jobs: cells at once.
        show: opens a display.
        tell: is given a line that people want to read while it runs.

    Attributes:
        failed: why cells have no result, by key.

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
        self._request, self._folder, self._jobs, self._show, self._tell = request, folder, jobs, show, tell
        planned = request.begun().looks
        self._looks = None if planned is None else Looks(planned=planned)
        self._own, self._shared = (
            TuningCache(folder.path / "recipes"),
            TuningCache(Path(request.tuning_cache or TUNING_FOLDER)),
        )
        self.failed: dict[str, str] = {}
        self._know()

    def check(self, *, figures: bool) -> None:
        """Refuse what would fail cell by cell, or after all cells.

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
                device=self.plan.device,
                preload=PRELOADED,
            )

    def run(self) -> bool:
        """Tune if that was asked, then run all cells; True if it was interrupted."""
        cells = self._folder.cells
        try:
            if self._looks is None:
                self._run_cells()
            else:
                self._run_until_resolved(self._looks)
            wanted = self.plan.clocked_cells(self._recipes(), self._bests, self._request.clock or 0)
            results = [(cell, cells.load(cell)) for cell in wanted]
            untimed = [cell for cell, result in results if result is not None and not result.is_timed]
            if untimed:
                self._run("timings", untimed, jobs=1, again=True)
        except KeyboardInterrupt:
            return True
        return False

    def _run_cells(self) -> None:
        for _ in range(2):  # where nothing is tuned, the best optimizers are known after the cells
            for _ in range(2):  # optimizers by themselves and the hybrid, then what runs on the best of them
                self._settle()
            self._run("cells", self._cells())
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
        """Seconds of every cell of the first seed."""
        first = [cell for cell in self._cells() if cell.seed % DISJOINT_SEEDS == self.plan.seeds[0]]
        results = [self._folder.cells.load(cell) for cell in first]
        return [result.train_s for result in results if result is not None]

    def _settle(self) -> None:
        """Tune, if that was asked, what is known to run, and keep the settings."""
        if self._request.tune:
            run = partial(self._run, "tuning trials")
            self._settings = tune(self.plan, self._bests, self._settings, self._folder.cells, run, self._shared)
        keep_settings(self.plan, self._bests, self._settings, self._own)
        self._know()

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

    def _run(self, what: str, cells: Sequence[Cell], *, jobs: int | None = None, again: bool = False) -> dict[str, str]:
        cells = [cell for cell in cells if cell.key not in self.failed]  # a second time they would fail again
        if all(map(self._folder.cells.has, cells)) and not again:
            return {}
        with self._show(what, len(cells)) as watcher:
            failed = run_cells(cells, self._folder.cells, jobs=jobs or self._jobs, watcher=watcher, again=again)
        self.failed |= failed
        return failed

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
