"""`hpt compare`: tuned baselines, methods and controls, paired seed by seed, and what may be said of them."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hpt.cli.closing import show_closing
from hpt.cli.compare_display import closing_of, hide_cells, show_cells, show_results
from hpt.cli.compare_shards import Sharing, list_missing, open_cluster, run_shard, show_missing
from hpt.cli.console import result_console
from hpt.cli.devices import require_device
from hpt.cli.main import debug_option
from hpt.cli.options import QUIET, THREADS, parse_percent
from hpt.compare.cluster import CLUSTERS
from hpt.compare.comparison import ComparisonRun
from hpt.compare.request import DEFAULT_BUDGET, REQUEST_FILE, TUNING_FOLDER, ComparisonFolder, ComparisonRequest
from hpt.compare.roster import ARMS
from hpt.compare.search import NUM_FINALISTS, NUM_TRIALS
from hpt.compare.suite import BUDGETS
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, HptError, NothingMeasured
from hpt.optimizers.catalogue import CATALOGUE
from hpt.run.folder import locked
from hpt.run.settings import DTYPES

EPILOG = f"""\b
Arms: {", ".join(ARMS)};
or the groups quick, standard, several, calibration, all.
Optimizers: {", ".join(CATALOGUE)}, or package.module:factory.

\b
Examples:
  hpt compare --budget quick
  hpt compare --budget standard --tune --jobs 2 --out runs/standard
  hpt compare --workloads mlp=3000,cnn --arms hybrid,nesterov,unlearned,never --seeds 5  # does learning pay?
  hpt compare --workloads byte-gpt=600 --arms hybrid,never --clock 6 --seeds 6  # whole runs, timed alone
  hpt compare --optimizers adamw,muon,soap --tune --seeds 5  # which is the best, and does the hybrid help it?
  hpt compare --workloads mlp --resolve 3%  # as many seeds as that takes, and no more
  hpt compare --workloads mlp,cnn --leave-one-out --seeds 5  # which parts of the default matter?
  hpt compare --workloads mlp --arms calibration,lr-boost --seeds 10  # does the comparison find known ratios?
  hpt compare --resume --out runs/standard

\b
On many machines that share a folder (docs/cluster.md):
  hpt compare --budget standard --out runs/standard --plan-only
  hpt compare --resume --out runs/standard --shard 1/8  # and 2/8 ... 8/8, on any machine, at any time
  hpt compare --out runs/standard --list-missing
  hpt compare --resume --out runs/standard  # run what is missing, write the results
  hpt compare --budget standard --out runs/standard --executor submitit:slurm --shards 8  # all of that
"""


@click.command(epilog=EPILOG)
@click.option(
    "--workloads",
    metavar="LIST",
    help="Workloads, each with or without its number of updates: mlp=3000,cnn. [default: the budget's]",
)
@click.option(
    "--arms",
    metavar="LIST",
    help="What is compared with the baseline: names or groups, listed below. [default: the budget's]",
)
@click.option(
    "--optimizers",
    metavar="LIST",
    help="Optimizers: each runs with and without jumps, all other arms on the best. [default: the workload's own]",
)
@click.option(
    "--leave-one-out",
    is_flag=True,
    default=None,
    help="Ablation: run the default without each of its parts in turn, each tuned.",
)
@click.option(
    "--seeds", metavar="N", type=click.IntRange(1, 10**4), help="Number of seeds, the same for every arm. [default: 3]"
)
@click.option(
    "--resolve",
    metavar="PERCENT",
    help="Add seeds until every interval is this narrow, e.g. 3%, or clearly off 1. The expected number is printed "
    "after three seeds; --seeds is the maximum. [default: a fixed number of seeds]",
)
@click.option("--first-seed", metavar="N", type=click.IntRange(0, 10**9), help="First seed. [default: 0]")
@click.option(
    "--budget", type=click.Choice(tuple(BUDGETS)), help=f"Size of the comparison. [default: {DEFAULT_BUDGET}]"
)
@click.option(
    "--tune/--no-tune",
    default=None,
    help=f"Tune the baseline and every method, unless stored: {NUM_TRIALS} trials, the best {NUM_FINALISTS} twice.",
)
@click.option("--out", metavar="FOLDER", help="Folder of cells and results. [default: runs/compare-<budget>]")
@click.option(
    "--resume", is_flag=True, help="Continue the comparison in --out with its stored settings; flags may ask for more."
)
@click.option(
    "--jobs", type=THREADS, default=1, show_default=True, metavar="N", help="Number of cells that run at once."
)
@click.option(
    "--clock",
    metavar="N",
    type=click.IntRange(min=0),
    help="Number of seeds whose baseline and methods run again one at a time, for wall-clock ratios. [default: 0]",
)
@click.option("--threads", type=THREADS, metavar="N", help="Number of torch threads in a cell. [default: 1]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1. [default: the budget's]")
@click.option("--dtype", type=click.Choice(tuple(DTYPES)), help="Autocast of the forward pass. [default: fp32]")
@click.option("--data", metavar="PATH", help="Text file, or folder of such, that the text workloads train on.")
@click.option(
    "--tuning-cache",
    metavar="FOLDER",
    help=f"Folder of tuned settings, shared by comparisons. [default: {TUNING_FOLDER}]",
)
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw figures into OUT/figures.")
@click.option("--plan-only", is_flag=True, help="Store the plan in --out, for --shard, and run nothing.")
@click.option("--shard", metavar="I/N", help="With --resume: run only the I-th of N shares of the missing cells.")
@click.option("--list-missing", is_flag=True, help="Print the names of missing cells, and run nothing.")
@click.option(
    "--executor", type=click.Choice(CLUSTERS), help="Submit shards as cluster jobs, wait for them, write the results."
)
@click.option("--shards", metavar="N", type=click.IntRange(1, 10**4), help="Number of jobs for --executor.")
@click.option(
    "--executor-option",
    "executor_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="Option of submitit, e.g. timeout_min=240, mem_gb=16, slurm_partition=long; may be repeated. [default: a time "
    "limit of one day]",
)
@QUIET
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print summary.json, and nothing else, on stdout. A shard, a plan and --list-missing print the missing cells.",
)
@debug_option
def compare(
    *, out: str | None, resume: bool, jobs: int, figures: bool, as_json: bool, quiet: bool, **words: Any
) -> int:
    """Compare training with jumps to tuned baselines and controls, and say what may be claimed.

    An arm is one way to train. A cell is one run: workload, arm, seed and length. Each cell runs in its own process
    and is stored when it ends, so Ctrl-C or a kill loses no finished cell. Wall-clock ratios use only cells that ran
    with nothing beside them; with --jobs above 1 give --clock to measure them.
    """
    sharing = Sharing(**{name: words.pop(name) for name in Sharing.__slots__})
    show, tell = (hide_cells, _tell_nothing) if quiet else (show_cells, _tell)
    request = _request(words)
    folder = ComparisonFolder(Path(out or f"runs/compare-{request.budget or DEFAULT_BUDGET}"))
    if sharing.list_missing:
        return list_missing(request, folder, as_json=as_json)
    if sharing.shard is not None:
        return run_shard(sharing.shard, request, folder, resume=resume, jobs=jobs, show=show, as_json=as_json)
    request = _continued(request, folder, resume=resume)
    sharing.refuse_open_seeds(request)
    work = ComparisonRun(request, folder, jobs=jobs, show=show, tell=tell)
    if not sharing.is_elsewhere:
        require_device(work.plan.device)
    work.check(figures=figures, device="cpu" if sharing.is_elsewhere else None)
    cluster = open_cluster(sharing, request, folder, jobs=jobs, show=show, tell=tell)
    with locked(folder.path, "comparison", REQUEST_FILE):
        folder.begin(request)
        if sharing.plan_only:
            work.keep_recipes()
            show_missing(request, folder, as_json=as_json)
            return EXIT_DONE
        interrupted = work.run() if cluster is None else work.run_elsewhere(cluster)
        summary = work.conclude(["hpt", *sys.argv[1:]], figures=figures)
    if as_json:
        click.echo(json.dumps(summary, allow_nan=False))
    else:
        if not quiet:
            show_results(summary, folder.path, result_console())
        show_closing(closing_of(summary, folder.path), result_console())
    return _exit_code(work.failed, summary, folder.path, interrupted=interrupted)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _tell_nothing(_: str) -> None:
    """In place of `_tell` where nothing but the end is to be shown."""


def _request(flags: dict[str, Any]) -> ComparisonRequest:
    """The flags, paths absolute, percent as a share and the dtype in the trainer's words."""
    flags["resolve"] = parse_percent("--resolve", flags["resolve"])
    for name in ("data", "tuning_cache"):
        flags[name] = None if flags[name] is None else str(Path(flags[name]).resolve())
    flags["dtype"] = None if flags["dtype"] is None else DTYPES[flags["dtype"]]
    return ComparisonRequest(**flags)


def _continued(request: ComparisonRequest, folder: ComparisonFolder, *, resume: bool) -> ComparisonRequest:
    if resume:
        request = request.over(folder.stored())
    else:
        folder.refuse_taken()
    request = request.begun()
    return request if request.tuning_cache else replace(request, tuning_cache=str(Path(TUNING_FOLDER).resolve()))


def _exit_code(failed: dict[str, str], summary: dict[str, Any], folder: Path, *, interrupted: bool) -> int:
    for key, reason in failed.items():
        click.echo(f"failed: {key}: {reason}", err=True)
    if interrupted:
        again = shlex.join(["hpt", "compare", "--resume", "--out", str(folder)])
        click.echo(f"interrupted; finished cells are kept; to continue: {again}", err=True)
        return EXIT_INTERRUPTED
    if failed:
        return HptError.exit_code
    measured = any(arm["measures"] for found in summary["workloads"].values() for arm in found["arms"].values())
    return EXIT_DONE if measured else NothingMeasured.exit_code
