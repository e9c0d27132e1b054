"""`hpt compare`: tuned baselines, methods and controls, paired seed by seed, and what may be said of them."""

import json
import shlex
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from hpt.cli.compare_display import show_cells, show_results
from hpt.cli.main import debug_option
from hpt.compare.arms import ARMS
from hpt.compare.cells import Cell
from hpt.compare.comparison import Settings, read, recipes_of, settings_of, tune
from hpt.compare.request import DEFAULT_BUDGET, ComparisonFolder, Request
from hpt.compare.runner import Runner
from hpt.compare.suite import BUDGETS, Plan
from hpt.compare.summary import Circumstances, summarize
from hpt.compare.tables import sentences_of, tables_of, to_csv, to_markdown, trials_table
from hpt.compare.tuning import NUM_TRIALS, TuningCache
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, DeviceError, HptError, NothingMeasured
from hpt.machine import utc_now
from hpt.run.settings import DTYPES

FAILED = HptError.exit_code
TUNING_FOLDER = "runs/tuning"
PLAIN_WIDTH = 160
EPILOG = f"""\b
Arms: {", ".join(ARMS)};
or the groups quick, standard, calibration, all.

\b
Examples:
  hpt compare --budget quick
  hpt compare --budget standard --tune --jobs 2 --out runs/standard
  hpt compare --workloads mlp=3000,cnn --arms hybrid,nesterov,lr-boost --seeds 5
  hpt compare --workloads mlp --arms calibration,lr-boost --seeds 10    # is the harness right?
  hpt compare --resume --out runs/standard
"""


@click.command(epilog=EPILOG)
@click.option("--workloads", metavar="LIST", help="Names, each with or without =STEPS. [default: the budget's]")
@click.option("--arms", metavar="LIST", help="Names or groups; the baseline is always there. [default: the budget's]")
@click.option("--seeds", metavar="N", type=click.IntRange(min=1), help="Paired seeds. [default: 3]")
@click.option("--first-seed", metavar="N", type=click.IntRange(min=0), help="The smallest of them. [default: 0]")
@click.option("--budget", type=click.Choice(tuple(BUDGETS)), help=f"How much is run. [default: {DEFAULT_BUDGET}]")
@click.option(
    "--tune/--no-tune",
    default=None,
    help=f"Tune the baseline and every method first, {NUM_TRIALS} trials each, where no earlier trials did.",
)
@click.option("--out", metavar="FOLDER", help="Where cells and results are kept. [default: runs/compare-<budget>]")
@click.option("--resume", is_flag=True, help="Go on in that folder, with its own settings where none are given.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Cells at once.")
@click.option(
    "--clock",
    metavar="N",
    type=click.IntRange(min=0),
    help="Seeds whose baseline and methods run again, alone, if they had company: for wall-clock ratios. [default: 0]",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch in a cell. [default: 1]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1. [default: the budget's]")
@click.option("--dtype", type=click.Choice(tuple(DTYPES)), help="Autocast of the forward pass. [default: fp32]")
@click.option("--data", metavar="PATH", help="Your text, a file or a folder, for the text workloads.")
@click.option("--tuning-cache", metavar="FOLDER", help=f"Where tunings are kept. [default: {TUNING_FOLDER}]")
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw OUT/figures.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json, and nothing else, on stdout.")
@debug_option
def compare(*, out: str | None, resume: bool, jobs: int, figures: bool, as_json: bool, **flags: Any) -> int:
    """Compare predicted training with tuned baselines and controls, and say what may be claimed.

    Every cell (workload, arm, seed, length) is a process of its own and is stored as it ends; Ctrl-C or a kill loses
    none that was finished. Wall-clock ratios come from cells that ran alone and undisturbed, and are left out
    otherwise: with more than one job, give --clock.
    """
    request = _request(flags)
    folder = ComparisonFolder(Path(out or f"runs/compare-{request.budget or DEFAULT_BUDGET}"))
    request = _continued(request, folder, resume=resume)
    plan = request.plan()
    _require_device(plan.device)
    with folder.locked():
        folder.begin(request)
        work = Work(plan, request, folder, jobs)
        interrupted = work.run()
        summary = work.conclude(figures=figures)
    if as_json:
        click.echo(json.dumps(summary, allow_nan=False))
    else:
        show_results(summary, folder.path, _console())
    return _exit_code(work, folder, interrupted=interrupted)


def _console() -> Console:
    """Standard output; where it is no terminal, wide enough for whole rows."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


class Work:
    """One part of a comparison: run what is missing, then write what is there."""

    def __init__(self, plan: Plan, request: Request, folder: ComparisonFolder, jobs: int) -> None:
        self._plan = plan
        self._request = request
        self._folder = folder
        self._jobs = jobs
        self._cache = TuningCache(Path(request.tuning_cache or TUNING_FOLDER))
        self._settings: Settings = settings_of(plan, self._cache)
        self.failed: dict[str, str] = {}

    def run(self) -> bool:
        """Tune if that was asked, then run all cells; True if it was interrupted."""
        try:
            with _sigterm_interrupts():
                if self._request.tune:
                    self._settings = tune(self._plan, self._folder.cells, self._run_trials, self._cache)
                self._run_cells(self._cells(), "cells")
                self._clock()
        except KeyboardInterrupt:
            return True
        return False

    def _clock(self) -> None:
        """Run again, alone, what has no usable time yet."""
        recipes, cells = recipes_of(self._plan, self._settings), self._folder.cells
        wanted = self._plan.clocked_cells(recipes, self._request.clock or 0)
        results = [(cell, cells.load(cell)) for cell in wanted]
        untimed = [cell for cell, result in results if result is not None and not result.is_timed]
        if untimed:
            with show_cells("timings", len(untimed)) as watcher:
                self.failed |= Runner(cells, 1, watcher).run(untimed, again=True)

    def _cells(self) -> list[Cell]:
        return self._plan.cells(recipes_of(self._plan, self._settings))

    def _run_trials(self, cells: Sequence[Cell]) -> dict[str, str]:
        return self._run_cells(cells, "tuning trials")

    def _run_cells(self, cells: Sequence[Cell], what: str) -> dict[str, str]:
        with show_cells(what, len(cells)) as watcher:
            failed = Runner(self._folder.cells, self._jobs, watcher).run(cells)
        self.failed |= failed
        return failed

    def conclude(self, *, figures: bool) -> dict[str, Any]:
        """Measure what is there, write summary, tables and figures, and return the summary.

        Raises:
            NothingMeasured: no baseline is complete on any workload.
        """
        readings = read(self._plan, self._settings, self._folder.cells)
        cells = self._cells()
        missing = [cell.key for cell in cells if not self._folder.cells.has(cell)]
        about = Circumstances(
            command=["hpt", *sys.argv[1:]],
            finished_at=utc_now(),
            budget=self._request.budget or DEFAULT_BUDGET,
            jobs=self._jobs,
            failed=self.failed,
            complete=not missing,
        )
        summary = summarize(self._plan, self._settings, readings, about)
        tables = [*tables_of(summary), trials_table(summary)]
        self._folder.write(summary, to_markdown(tables, sentences_of(summary)), to_csv(summary))
        self.num_measured = sum(len(reading.arms) for reading in readings)
        if figures and self.num_measured:
            from hpt.compare.figures import draw_all  # noqa: PLC0415 - matplotlib takes a second to import

            draw_all(summary, self._folder.path / "figures")
        return summary


def _request(flags: dict[str, Any]) -> Request:
    """The flags, paths absolute and the dtype in the trainer's words."""
    for name in ("data", "tuning_cache"):
        flags[name] = None if flags[name] is None else str(Path(flags[name]).resolve())
    flags["dtype"] = None if flags["dtype"] is None else DTYPES[flags["dtype"]]
    return Request(**flags)


def _continued(request: Request, folder: ComparisonFolder, *, resume: bool) -> Request:
    if resume:
        return request.over(folder.stored())
    if folder.has_comparison():
        raise click.UsageError(
            f"{folder.path} already holds a comparison; go on with --resume, choose another --out, or delete it"
        )
    return request


def _require_device(name: str) -> None:
    """Refuse a GPU that is not there before any cell starts.

    Raises:
        DeviceError: it is not in this machine.
    """
    if name == "cpu":
        return
    from hpt.run.session import find_device  # noqa: PLC0415 - imports torch, which takes seconds

    try:
        find_device(name)
    except DeviceError as error:
        raise DeviceError(f"{error}, or choose --budget quick or standard") from error


@contextmanager
def _sigterm_interrupts() -> Generator[None]:
    """SIGTERM ends the comparison as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001 (a signal handler's arguments)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(work: Work, folder: ComparisonFolder, *, interrupted: bool) -> int:
    for key, reason in work.failed.items():
        click.echo(f"failed: {key}: {reason}", err=True)
    if interrupted:
        again = shlex.join(["hpt", "compare", "--resume", "--out", str(folder.path)])
        click.echo(f"interrupted; finished cells are kept; to go on: {again}", err=True)
        return EXIT_INTERRUPTED
    if work.failed:
        return FAILED
    return EXIT_DONE if work.num_measured else NothingMeasured.exit_code
