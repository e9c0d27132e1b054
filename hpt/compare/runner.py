"""Runs cells in processes of their own, some at a time, and stores each as it ends.

Processes are forked from a server that has imported torch once and computed nothing. The parent alone writes, so a
kill at any moment leaves finished cells whole and unfinished ones absent. A cell's result depends on the cell alone:
threads are part of it, and nothing is shared between processes. Only its times depend on company, so each result
says whether it ran alone.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from hpt.compare.arms import DISJOINT_SEEDS
from hpt.compare.cells import Cell, CellFolder, CellResult

POLL_S = 0.5  # how often the display may be redrawn while nothing ends
# What a cell imports; torch's optimizers import the last one at their first step, which takes a second.
PRELOADED = ["hpt.compare.worker", "hpt.predictors.rssm", "torch._dynamo"]
STOP_S = 5.0  # patience with a process that was told to stop


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


@dataclass
class _Started:
    """A process under way."""

    cell: Cell
    process: ForkServerProcess
    pipe: Connection
    alone: bool
    began_s: float = field(default_factory=time.monotonic)


class Runner:
    """Brings cells to completion.

    Args:
        folder: where results are kept.
        jobs: cells at once.
        watcher: told whenever something changed, and twice a second.
    """

    def __init__(self, folder: CellFolder, jobs: int, watcher: Watcher | None = None) -> None:
        self._folder = folder
        self._jobs = jobs
        self._watcher = watcher or _ignore
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._speeds = _Speeds()
        self._running: list[_Started] = []

    def run(self, cells: Sequence[Cell], *, again: bool = False) -> dict[str, str]:
        """Run those that are not done, seed by seed; returns why any failed, by key.

        Args:
            cells: what is wanted.
            again: run those that are done, too, and renew their times; on the CPU another loss is a failure.

        Raises:
            KeyboardInterrupt: Ctrl-C; running cells are stopped, finished ones are kept.
            DiskError: results cannot be stored.
        """
        unique = list({cell.key: cell for cell in cells}.values())
        done = [cell for cell in unique if self._folder.has(cell)]
        for cell in done:
            result = self._folder.load(cell)
            if result is not None:
                self._speeds.add(cell, result)
        waiting = self._in_order([cell for cell in unique if again or not self._folder.has(cell)])
        failed: dict[str, str] = {}
        num_done = 0 if again else len(done)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._jobs:
                    self._start(waiting.pop(0))
                ended = self._wait()
                for one in ended:
                    result = self._collect(one, failed)
                    num_done += result is not None
                    self._watcher(self._progress(num_done, failed, waiting, (one.cell, result)))
                if not ended:
                    self._watcher(self._progress(num_done, failed, waiting, None))
        finally:
            self._stop_all()
        return failed

    def _in_order(self, cells: list[Cell]) -> list[Cell]:
        """Pair by pair of seeds, so that an early stop leaves whole comparisons; within a pair as they came."""
        return sorted(cells, key=lambda cell: cell.seed % DISJOINT_SEEDS)

    def _start(self, cell: Cell) -> None:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_enter, args=(there, cell.to_document()), daemon=True)
        process.start()
        there.close()
        for other in self._running:
            other.alone = False
        self._running.append(_Started(cell, process, here, alone=not self._running))

    def _wait(self) -> list[_Started]:
        ready = set(wait([one.pipe for one in self._running], timeout=POLL_S))
        return [one for one in self._running if one.pipe in ready]

    def _collect(self, one: _Started, failed: dict[str, str]) -> CellResult | None:
        """Take in what a process sent, store it, and see the process off."""
        self._running.remove(one)
        try:
            answer: dict[str, Any] = one.pipe.recv()
        except EOFError:
            answer = {}
        one.pipe.close()
        one.process.join()
        if "result" not in answer:
            code = one.process.exitcode
            failed[one.cell.key] = (
                answer.get("error") or f"its process ended with status {code}; memory may have run out"
            )
            return None
        result = replace(CellResult.from_document(answer["result"]), alone=one.alone)
        before = self._folder.load(one.cell)
        if before is not None:
            if one.cell.device == "cpu" and before.loss != result.loss:  # elsewhere runs do not repeat to the last bit
                failed[one.cell.key] = f"a second run ended at loss {result.loss}, the first at {before.loss}"
                return None
            result = replace(before, train_s=result.train_s, cpu_s=result.cpu_s, alone=result.alone)
        self._folder.store(one.cell, result)
        self._speeds.add(one.cell, result)
        return result

    def _stop_all(self) -> None:
        for one in self._running:
            one.process.terminate()
        for one in self._running:
            one.process.join(STOP_S)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.pipe.close()
        self._running.clear()

    def _progress(
        self,
        num_done: int,
        failed: dict[str, str],
        waiting: Sequence[Cell],
        last: tuple[Cell, CellResult | None] | None,
    ) -> Progress:
        now = time.monotonic()
        running = {one.cell.key: now - one.began_s for one in self._running}
        left_s = self._speeds.left_s(waiting, [(one.cell, now - one.began_s) for one in self._running], self._jobs)
        return Progress(num_done, dict(failed), running, len(waiting), left_s, last)


class _Speeds:
    """Seconds per update by workload, for the time that is left."""

    def __init__(self) -> None:
        self._total: dict[str, tuple[float, int]] = {}

    def add(self, cell: Cell, result: CellResult) -> None:
        seconds, steps = self._total.get(cell.workload, (0.0, 0))
        self._total[cell.workload] = (seconds + result.train_s, steps + cell.steps)

    def _expected_s(self, cell: Cell) -> float | None:
        pool = self._total.get(cell.workload)
        return None if pool is None or pool[1] == 0 else cell.steps * pool[0] / pool[1]

    def left_s(self, waiting: Sequence[Cell], running: Sequence[tuple[Cell, float]], jobs: int) -> float | None:
        expected = [self._expected_s(cell) for cell in waiting]
        started = [(self._expected_s(cell), since_s) for cell, since_s in running]
        known = [one for one in expected if one is not None]
        if not known and not any(one is not None for one, _ in started):
            return None
        typical = sum(known) / len(known) if known else 0.0
        total = sum(typical if one is None else one for one in expected)
        total += sum(max(0.0, (typical if one is None else one) - since_s) for one, since_s in started)
        return total / jobs


def _enter(pipe: Connection, values: dict[str, Any]) -> None:
    """First function of a cell's process; imports torch there, never in the parent."""
    from hpt.compare.worker import run  # noqa: PLC0415 - the parent stays without torch

    run(pipe, values)


def _ignore(progress: Progress) -> None:
    del progress
