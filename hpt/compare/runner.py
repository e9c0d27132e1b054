"""Runs cells in processes of their own, some at a time, and stores each as it ends.

A cell's result depends on the cell alone: threads are part of it, and nothing is shared between processes. Only its
times depend on company, so each result says whether it ran alone; where other processes work on the same comparison
nobody can know that, and it did not.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from hpt.compare.arms import DISJOINT_SEEDS
from hpt.compare.cells import Cell, CellFolder, CellResult
from hpt.compare.machines import machine_of
from hpt.compare.same_data import REMEDY, SameData
from hpt.run.processes import ChildJob, JobEnd, JobsProgress, run_jobs

# What a cell imports; torch's optimizers import the last one at their first step, which takes a second.
PRELOADED = ("hpt.compare.training", "hpt.predictors.selector", "torch._dynamo")
TARGET = "hpt.compare.training:cell_job"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a set of cells is.

    Attributes:
        done: finished, those of earlier parts of the comparison included.
        failed: ended without a result, with the reason.
        running: started, with the seconds since.
        left: not started.
        left_s: seconds to the end, if speeds stay as they were; None before any cell ended.
        last: the cell that ended just now, with its result if it has one.
    """

    done: int
    failed: dict[str, str]
    running: dict[str, float]
    left: int
    left_s: float | None
    last: tuple[Cell, CellResult | None] | None = None


Watcher = Callable[[Progress], None]


def run_cells(
    cells: Sequence[Cell],
    folder: CellFolder,
    *,
    jobs: int = 1,
    watcher: Watcher | None = None,
    again: bool = False,
    in_company: bool = False,
) -> dict[str, str]:
    """Run those that are not done, seed by seed; returns why any failed, by key.

    Args:
        cells: what is wanted.
        folder: where results are kept.
        jobs: cells at once.
        watcher: told whenever something changed, and twice a second.
        again: run those that are done, too, and renew their times; on the same CPU another loss is a failure.
        in_company: other processes run cells of this comparison, so that none counts as having run alone.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; running cells are stopped, finished ones are kept.
        DiskError: results cannot be stored.
    """
    unique = list({cell.key: cell for cell in cells}.values())
    # pair by pair of seeds, so that an early stop leaves whole comparisons; within a pair as they came
    wanted = sorted(
        (cell for cell in unique if again or not folder.has(cell)), key=lambda cell: cell.seed % DISJOINT_SEEDS
    )
    keeper = _Keeper(folder, wanted, jobs, again=again, in_company=in_company)
    keeper.num_done = len(unique) - len(wanted)
    keeper.learn(unique)
    run_jobs(
        [ChildJob(key=cell.key, target=TARGET, arguments=asdict(cell)) for cell in wanted],
        at_once=jobs,
        on_end=keeper.keep,
        on_progress=None if watcher is None else lambda progress: watcher(keeper.progress(progress)),
        preload=PRELOADED,
    )
    return keeper.failed


def _retimed(before: CellResult, result: CellResult) -> CellResult:
    """The first result with the times of another run, and the machine that they were taken on."""
    times = ("train_s", "cpu_s", "alone", "environment")
    return replace(before, **{name: getattr(result, name) for name in times})


def _should_repeat(cell: Cell, before: CellResult, result: CellResult) -> bool:
    """Elsewhere, and from one machine to another, runs do not repeat to the last bit."""
    return cell.device == "cpu" and machine_of(before) == machine_of(result)


class _Keeper:
    """Stores what cells came to, and knows how long those that are left will take."""

    def __init__(self, folder: CellFolder, wanted: Sequence[Cell], jobs: int, *, again: bool, in_company: bool) -> None:
        self._folder, self._wanted, self._jobs = folder, wanted, jobs
        self._again, self._in_company = again, in_company
        self._cells = {cell.key: cell for cell in wanted}
        self._pools: dict[str, tuple[float, int]] = {}  # seconds and updates by workload
        self._ended: dict[str, CellResult] = {}
        self._data = SameData()
        self.num_done = 0
        self.failed: dict[str, str] = {}

    def keep(self, end: JobEnd) -> None:
        """Store the result of a cell, or why it has none."""
        cell = self._cells[end.job.key]
        if end.error is not None:
            self.failed[cell.key] = end.error
            return
        result = replace(CellResult(**end.documents[-1]), alone=end.alone and not self._in_company)
        objection = self._data.objection(cell, result)
        if objection is not None:
            self.failed[cell.key] = f"{objection}; {REMEDY}"
            return
        before = self._folder.load(cell)
        if before is not None:
            if _should_repeat(cell, before, result) and before.loss != result.loss:
                self.failed[cell.key] = f"a second run ended at loss {result.loss}, the first at {before.loss}"
                return
            result = _retimed(before, result) if self._again else before  # another process was first
        if before is not result:
            self._folder.store(cell, result)
        self._ended[cell.key] = result
        self._add_speed(cell, result)
        self.num_done += 1

    def learn(self, cells: Sequence[Cell]) -> None:
        """From stored results of like cells: the running time to expect, and the data that seeds were trained on."""
        for cell in cells:
            result = self._folder.load(cell)
            if result is not None:
                self._add_speed(cell, result)
                self._data.objection(cell, result)

    def _add_speed(self, cell: Cell, result: CellResult) -> None:
        seconds, steps = self._pools.get(cell.workload, (0.0, 0))
        self._pools[cell.workload] = (seconds + result.train_s, steps + cell.steps)

    def progress(self, jobs: JobsProgress) -> Progress:
        """Progress by cell: done, running with seconds, and the one that ended last."""
        key = None if jobs.last is None else jobs.last.job.key
        last = None if key is None else (self._cells[key], self._ended.get(key))
        left_s = self._left_s(jobs)
        return Progress(self.num_done, dict(self.failed), jobs.running, jobs.num_waiting, left_s, last)

    def _left_s(self, jobs: JobsProgress) -> float | None:
        waiting = self._wanted[len(self._wanted) - jobs.num_waiting :]
        expected = [(self._expected_s(cell), 0.0) for cell in waiting]
        known = [seconds for seconds, _ in expected if seconds is not None]
        expected += [(self._expected_s(self._cells[key]), since_s) for key, since_s in jobs.running.items()]
        if all(seconds is None for seconds, _ in expected):
            return None
        typical = sum(known) / len(known) if known else 0.0
        return sum(max(0.0, (typical if one is None else one) - since_s) for one, since_s in expected) / self._jobs

    def _expected_s(self, cell: Cell) -> float | None:
        seconds, steps = self._pools.get(cell.workload, (0.0, 0))
        return cell.steps * seconds / steps if steps else None
