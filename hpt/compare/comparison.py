"""A comparison from plan to results: settings, cells, measures by workload and arm, and the files written from them.

    settings   trials of this comparison, or of an earlier one, or the workload's own
    cells      run where they are missing
    readings   measures of every arm whose cells are there

The folder holds `comparison.json` (what was asked), `recipes/` (how each arm trains, and the trials behind it),
`cells/`, and what is written from them at the end.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hpt.compare.cells import Cell
from hpt.compare.readings import read
from hpt.compare.request import DEFAULT_BUDGET, TUNING_FOLDER, ComparisonFolder, ComparisonRequest
from hpt.compare.runner import PRELOADED, Watcher, run_cells
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

    Attributes:
        failed: why cells have no result, by key.

    Raises:
        UsageError: a workload or an arm is unknown.
    """

    def __init__(self, request: ComparisonRequest, folder: ComparisonFolder, *, jobs: int, show: Show) -> None:
        self.plan = request.plan()
        self._request, self._folder, self._jobs, self._show = request, folder, jobs, show
        self._own, self._shared = (
            TuningCache(folder.path / "recipes"),
            TuningCache(Path(request.tuning_cache or TUNING_FOLDER)),
        )
        self._settings = settings_of(self.plan, self._own, self._shared, tunes=bool(request.tune))
        self.failed: dict[str, str] = {}

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
            if self._request.tune:
                self._settings = tune(
                    self.plan, self._settings, cells, lambda trials: self._run("tuning trials", trials), self._shared
                )
            keep_settings(self.plan, self._settings, self._own)
            self._run("cells", self._cells())
            wanted = self.plan.clocked_cells(recipes_of(self.plan, self._settings), self._request.clock or 0)
            results = [(cell, cells.load(cell)) for cell in wanted]
            untimed = [cell for cell, result in results if result is not None and not result.is_timed]
            if untimed:
                self._run("timings", untimed, jobs=1, again=True)
        except KeyboardInterrupt:
            return True
        return False

    def _cells(self) -> list[Cell]:
        return self.plan.cells(recipes_of(self.plan, self._settings))

    def _run(self, what: str, cells: Sequence[Cell], *, jobs: int | None = None, again: bool = False) -> dict[str, str]:
        with self._show(what, len(cells)) as watcher:
            failed = run_cells(cells, self._folder.cells, jobs=jobs or self._jobs, watcher=watcher, again=again)
        self.failed |= failed
        return failed

    def conclude(self, command: list[str], *, figures: bool) -> dict[str, Any]:
        """Measure what is there, write summary, tables and figures, and return the summary."""
        readings = read(self.plan, self._settings, self._folder.cells)
        about = Circumstances(
            command=command,
            finished_at=utc_now(),
            budget=self._request.budget or DEFAULT_BUDGET,
            jobs=self._jobs,
            failed=self.failed,
            complete=all(map(self._folder.cells.has, self._cells())),
        )
        summary = summarize(self.plan, self._settings, readings, about)
        tables = [*tables_of(summary), trials_table(summary)]
        self._folder.write(summary, to_markdown(tables, sentences_of(summary)), to_csv(summary))
        if figures and any(reading.arms for reading in readings):
            from hpt.compare.figures import draw_all  # noqa: PLC0415 - matplotlib takes a second to import

            draw_all(summary, self._folder.path / "figures")
        return summary
