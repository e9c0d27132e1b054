"""Shards of a comparison as jobs of a cluster, through submitit: submitted, watched, cancelled; none is run again.

A job is a shard, `shard_run.ShardRun`, in a process on some machine that shares the folder. Its log and what submitit
needs lie in `submitit/` there.
"""

import importlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt.compare.attempts import Show
from hpt.compare.request import ComparisonFolder
from hpt.compare.shard_run import ShardRun
from hpt.compare.shards import Shard
from hpt.errors import HptError, PrerequisiteError, UsageError
from hpt.plugins import one_line

CLUSTERS = ("submitit:local", "submitit:slurm")
TIMEOUT_MIN = 24 * 60
POLL_S = 1.0  # as submitit itself; every look touches the folder
STOP_S = 10.0  # patience with jobs that were told to stop
FIXED = ("nodes", "tasks_per_node")
"""A shard is one process."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How the job of a shard ended.

    Attributes:
        failed: why cells have no result, by key.
        error: why the job itself ended early, in words; None if it did all that it could.
    """

    failed: dict[str, str]
    error: str | None = None


def run_shard(out: str, shard: Shard, jobs: int, show: Show) -> JobEnd:
    """What a job does.

    Args:
        out: folder of the comparison, absolute.
        shard: which part.
        jobs: cells at once.
        show: opens a display, for its log.

    Raises:
        KeyboardInterrupt: it was cancelled.
    """
    folder = ComparisonFolder(Path(out))
    try:
        run = ShardRun(folder.planned(), folder, shard, jobs=jobs, show=show)
        run.check()
        if run.run():
            raise KeyboardInterrupt
    except HptError as error:
        return JobEnd({}, one_line(error))
    return JobEnd(run.failed)


class Cluster:
    """Where jobs run.

    Args:
        kind: one of `CLUSTERS`.
        out: folder of the comparison.
        jobs: cells of a job at once.
        show: opens a display, for its log.
        options: of submitit's executor, over the usual ones.
        tell: is given a line that people want to read.

    Raises:
        UsageError: the kind or an option is unknown.
        PrerequisiteError: submitit is not installed, or the cluster's commands are not here.
    """

    def __init__(
        self,
        kind: str,
        out: Path,
        *,
        jobs: int,
        show: Show,
        options: Mapping[str, Any],
        tell: Callable[[str], None],
    ) -> None:
        if kind not in CLUSTERS:
            raise UsageError(f"--executor is {kind!r}, it must be one of {', '.join(CLUSTERS)}; choose one")
        self._out, self._jobs, self._show, self._tell = out.resolve(), jobs, show, tell
        self._logs, self._kind, self._options = self._out / "submitit", kind, options
        with tempfile.TemporaryDirectory(prefix="hpt-submitit-") as folder:  # refused before there is anything in `out`
            _executor(kind, Path(folder), options)

    def run(self, shards: Sequence[Shard]) -> dict[Shard, JobEnd]:
        """Submit the shards, wait for all, and return how each ended.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; all jobs are cancelled.
        """
        jobs: dict[Shard, Any] = {}
        executor = _executor(self._kind, self._logs, self._options)
        try:
            with executor.batch():
                for shard in shards:
                    jobs[shard] = executor.submit(run_shard, str(self._out), shard, self._jobs, self._show)
            names = ", ".join(f"{shard} as {job.job_id}" for shard, job in jobs.items())
            self._tell(f"submitted shards {names}; logs in {self._logs}")
            waiting = dict(jobs)
            while waiting:
                time.sleep(POLL_S)
                for shard in [shard for shard, job in waiting.items() if job.done()]:
                    del waiting[shard]
                    self._tell(f"shard {shard} ended, {len(waiting)} to go")
        except BaseException:
            _cancel(list(jobs.values()))
            raise
        return {shard: _end_of(job) for shard, job in jobs.items()}


def _executor(kind: str, folder: Path, options: Mapping[str, Any]) -> Any:
    cluster = kind.partition(":")[2]
    try:
        submitit = importlib.import_module("submitit")
    except ImportError as error:
        raise PrerequisiteError(
            f"--executor {kind} needs submitit, which is not installed; pip install 'hybrid-predict-trainer[cluster]'"
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    except RuntimeError as error:
        raise PrerequisiteError(f"--executor {kind} cannot be used here: {one_line(error)}") from error
    try:
        executor.update_parameters(**options)
    except (NameError, ValueError, AssertionError, TypeError) as error:
        raise UsageError(f"--executor-option: {one_line(error)}") from error
    return executor


def options_of(texts: Sequence[str], *, jobs: int, threads: int, device: str) -> dict[str, Any]:
    """Options of submitit: what the cells need, and what the user says over it.

    Args:
        texts: NAME=VALUE, as the user wrote them.
        jobs: cells of a job at once.
        threads: of a cell.
        device: of a cell.

    Raises:
        UsageError: one is no NAME=VALUE, or would make several processes of a shard.
    """
    found: dict[str, Any] = {
        "name": "hpt-compare",
        "timeout_min": TIMEOUT_MIN,
        "cpus_per_task": jobs * threads,
        "gpus_per_node": 0 if device == "cpu" else 1,
    }
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name and value) or name in FIXED:
            raise UsageError(
                f"--executor-option is {text!r}, it must be NAME=VALUE, and a shard is one process ({', '.join(FIXED)} "
                "are 1); give what submitit takes, as in timeout_min=240 or slurm_partition=long"
            )
        found[name] = _value(value)
    return found


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _end_of(job: Any) -> JobEnd:
    """What a job returned, or that it died."""
    if job.exception() is None:
        return job.result()
    return JobEnd({}, f"its job {job.job_id} died, state {job.state}; log: {job.paths.stderr}")


def _cancel(jobs: Sequence[Any]) -> None:
    """Stop all, and wait a while for their ends; those that were never submitted have no number."""
    submitted = [job for job in jobs if hasattr(job, "job_id")]
    for job in submitted:
        job.cancel(check=False)
    stop_s = time.monotonic() + STOP_S
    while time.monotonic() < stop_s and not all(job.done() for job in submitted):
        time.sleep(POLL_S)
