"""`hpt compare` where several processes fill one folder: what its words ask for, and what a shard says at its end."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

import click

from hpt.cli.devices import require_device
from hpt.compare.attempts import Show
from hpt.compare.cluster import Cluster, options_of
from hpt.compare.cluster_run import ClusterRun
from hpt.compare.request import ComparisonFolder, ComparisonRequest, refuse_open_seeds
from hpt.compare.shard_run import ShardRun
from hpt.compare.shards import Shard
from hpt.compare.standing import Standing
from hpt.compare.tuning import TuningCache
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, HptError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How the work is shared, as the command line says.

    Attributes:
        shard: run this share of the missing cells.
        list_missing: run nothing, say what is missing.
        plan_only: keep what is asked for, run nothing.
        executor: submit shards to this one.
        shards: so many.
        executor_options: of it, NAME=VALUE.

    Raises:
        UsageError: two of them exclude each other, or one needs another.
    """

    shard: str | None
    list_missing: bool
    plan_only: bool
    executor: str | None
    shards: int | None
    executor_options: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse flags that exclude or need each other."""
        asked = {
            "--shard": self.shard is not None,
            "--list-missing": self.list_missing,
            "--plan-only": self.plan_only,
            "--executor": self.executor is not None,
        }
        given = [name for name, is_given in asked.items() if is_given]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other; give one of them")
        if (self.executor is None) != (self.shards is None):
            raise UsageError("--executor and --shards need each other; give both or none")
        if self.executor_options and self.executor is None:
            raise UsageError("--executor-option is for --executor; give that too, or leave it out")

    @property
    def is_elsewhere(self) -> bool:
        """Cells run in other processes, perhaps on other machines, which may have a device that is not here."""
        return self.plan_only or self.executor is not None

    def refuse_open_seeds(self, request: ComparisonRequest) -> None:
        """Refuse to share what cannot be shared.

        Raises:
            UsageError: seeds are decided on as it runs.
        """
        if self.is_elsewhere:
            refuse_open_seeds(request)


def run_shard(
    text: str,
    request: ComparisonRequest,
    folder: ComparisonFolder,
    *,
    resume: bool,
    jobs: int,
    show: Show,
    as_json: bool,
) -> int:
    """Run one shard and return the exit code.

    Args:
        text: which.
        request: what the command line asks for besides; it may not differ from the plan.
        folder: of the comparison.
        resume: was said, too.
        jobs: cells at once.
        show: of progress.
        as_json: what it left missing goes to stdout.

    Raises:
        UsageError: there is no such shard or no plan, or the plan is another.
        PrerequisiteError: data, device or package is missing.
    """
    shard = Shard.parse(text)
    if not resume:
        raise UsageError("--shard continues a planned comparison; add --resume")
    planned = _planned(request, folder)
    run = ShardRun(planned, folder, shard, jobs=jobs, show=show)
    require_device(run.plan.device)
    run.check()
    interrupted = run.run()
    standing = run.standing()
    if as_json:
        click.echo(json.dumps(standing.document(shard)))
    for key, reason in run.failed.items():
        click.echo(f"failed: {key}: {reason}", err=True)
    again = shlex.join(["hpt", "compare", "--resume", "--out", str(folder.path), "--shard", str(shard)])
    if interrupted:
        click.echo(f"interrupted; finished cells are kept; to continue: {again}", err=True)
        return EXIT_INTERRUPTED
    _tell_waiting(standing, again)
    return HptError.exit_code if run.failed else EXIT_DONE


def _tell_waiting(standing: Standing, again: str) -> None:
    """What other shards have to settle before this one can go on."""
    waits = standing.waits_for()
    for one in waits:
        click.echo(f"some cells are still missing: they need {one.words}, which another shard runs", err=True)
    if waits:
        click.echo(f"when that is done, continue with: {again}", err=True)


def list_missing(request: ComparisonRequest, folder: ComparisonFolder, *, as_json: bool) -> int:
    """Print the names of missing cells, and what others wait for; returns the exit code.

    Raises:
        UsageError: there is no plan, or it is another than this.
    """
    show_missing(_planned(request, folder), folder, as_json=as_json)
    return EXIT_DONE


def show_missing(planned: ComparisonRequest, folder: ComparisonFolder, *, as_json: bool) -> None:
    """Names of missing cells on stdout, what others wait for on stderr; with `as_json` all of it as one document."""
    standing = Standing(planned.plan(), TuningCache(folder.recipes), folder.cells, tunes=bool(planned.tune))
    if as_json:
        click.echo(json.dumps(standing.document()))
        return
    for cell in standing.missing():
        click.echo(cell.key)
    for one in standing.waits_for():
        click.echo(f"not listed: cells that need {one.words}, which are not there yet", err=True)


def _planned(request: ComparisonRequest, folder: ComparisonFolder) -> ComparisonRequest:
    planned = folder.planned()
    request.refuse_other(planned)
    return planned


def open_cluster(
    sharing: Sharing,
    request: ComparisonRequest,
    folder: ComparisonFolder,
    *,
    jobs: int,
    show: Show,
    tell: Callable[[str], None],
) -> ClusterRun | None:
    """What submits the shards; None without --executor. Nothing is submitted yet.

    Raises:
        UsageError: an option is unknown.
        PrerequisiteError: submitit is not installed, or the cluster is not here.
    """
    if sharing.executor is None or sharing.shards is None:
        return None
    plan = request.plan()
    options = options_of(sharing.executor_options, jobs=jobs, threads=plan.threads, device=plan.device)
    cluster = Cluster(sharing.executor, folder.path, jobs=jobs, show=show, options=options, tell=tell)
    if request.clock:
        tell("--clock takes effect in hpt compare --resume: cells of a shard do not count as having run alone")
    return ClusterRun(request, folder, cluster, num_shards=sharing.shards, show=show, tell=tell)
