"""Shards as jobs of submitit on this machine: they equal one runner, a dead one is told, none outlives a stop."""

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from references.timeless import timeless_files

from hpt.cli.compare_display import show_cells
from hpt.cli.main import run
from hpt.compare.cluster import Cluster, JobEnd, options_of, run_shard
from hpt.compare.cluster_run import ClusterRun
from hpt.compare.request import ComparisonFolder, ComparisonRequest
from hpt.compare.shards import Shard
from hpt.errors import UsageError

pytestmark = pytest.mark.processes

SMALL = ["--workloads", "regression=60", "--arms", "nesterov,frozen", "--budget", "quick", "--seeds", "1"]
LOCAL = ["--executor", "submitit:local", "--shards", "2", "--executor-option", "timeout_min=20"]


@pytest.fixture(autouse=True)
def _no_slow_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitit waits fifteen seconds for the result of a dead job, which another machine may have written."""
    monkeypatch.setattr("hpt.compare.cluster.POLL_S", 0.1)
    if find_spec("submitit") is not None:
        monkeypatch.setattr("submitit.Job._results_timeout_s", 1)


def compare(out: Path, *words: str) -> int:
    return run(["compare", "--out", str(out), "--tuning-cache", str(out.parent / f"{out.name}-cache"), *words])


def test_two_local_jobs_equal_one_runner(tmp_path: Path) -> None:
    """Recipes, every cell and the summary, to the last bit; two optimizers, so that a second round is needed."""
    pytest.importorskip("submitit")
    words = [*SMALL, "--optimizers", "adamw,sgd", "--no-figures"]
    assert compare(tmp_path / "one", *words) == 0
    assert compare(tmp_path / "many", *words, *LOCAL) == 0
    assert timeless_files(tmp_path / "many") == timeless_files(tmp_path / "one")


def cluster_run(out: Path, tell: Callable[[str], None]) -> ClusterRun:
    """Two jobs on this machine, planned."""
    pytest.importorskip("submitit")
    assert compare(out, *SMALL, "--plan-only") == 0
    folder = ComparisonFolder(out)
    options = options_of(["timeout_min=20"], jobs=1, threads=1, device="cpu")
    cluster = Cluster("submitit:local", out, jobs=1, show=show_cells, options=options, tell=tell)
    return ClusterRun(folder.planned(), folder, cluster, num_shards=2, show=show_cells, tell=tell)


class HereCluster(Cluster):
    """One shard after the other in this process; those of `dead` end without a result."""

    def __init__(self, out: Path, dead: tuple[int, ...] = ()) -> None:
        self.rounds: list[list[Shard]] = []
        self._out, self._dead = out, dead

    def run(self, shards: Sequence[Shard]) -> dict[Shard, JobEnd]:
        """As a job does it."""
        self.rounds.append(list(shards))
        died = JobEnd({}, "its job died")
        return {
            shard: died if shard.index in self._dead else run_shard(str(self._out), shard, 1, show_cells)
            for shard in shards
        }


def run_here(out: Path, dead: tuple[int, ...] = ()) -> tuple[ClusterRun, HereCluster]:
    """Two shards of what is planned."""
    folder, cluster = ComparisonFolder(out), HereCluster(out, dead)
    run = ClusterRun(folder.planned(), folder, cluster, num_shards=2, show=show_cells, tell=lambda _: None)
    assert not run.run()
    return run, cluster


def test_what_waits_for_the_best_optimizer_is_run_in_another_round(tmp_path: Path) -> None:
    """It is known when all optimizers have run by themselves, in both shards; afterwards nothing is missing."""
    out = tmp_path / "out"
    assert compare(out, *SMALL, "--optimizers", "adamw,sgd", "--plan-only") == 0
    run, cluster = run_here(out)
    assert len(cluster.rounds) > 1
    assert run.failed == {}
    assert len(list((out / "cells").glob("*.json"))) == 6 + 4 + 2


def test_recipes_that_no_living_shard_settles_are_failures(tmp_path: Path) -> None:
    """All shards died before any trial: no cell has a name that could be told, and it is no success; once is enough."""
    out = tmp_path / "out"
    assert compare(out, *SMALL, "--tune", "--plan-only") == 0
    run, cluster = run_here(out, dead=(1, 2))
    assert set(run.failed) == {f"the recipe of {arm} on regression" for arm in ("baseline", "nesterov")}
    assert len(cluster.rounds) == 1


def number_of(line: str, shard: str) -> int:
    """The process that starts the job of a shard, from 'submitted shards 1/2 as 123, 2/2 as 124; ...'."""
    return int(line.partition(f"{shard} as ")[2].partition(";")[0].partition(",")[0])


def job_of(line: str, shard: str) -> psutil.Process:
    """The job's own process."""
    controller = psutil.Process(number_of(line, shard))
    while not controller.children():
        time.sleep(0.05)
    return controller.children()[0]


def test_a_dead_job_is_told_and_its_cells_stay_missing(tmp_path: Path) -> None:
    """Killed from outside; the other shard's cells are there, nothing is run again, and plain --resume ends it."""
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if line.startswith("submitted"):
            job_of(line, "1/2").kill()

    out = tmp_path / "out"
    cluster = cluster_run(out, tell)
    assert not cluster.run()
    own = {key for key, why in cluster.failed.items() if why.startswith("shard 1/2: its job ")}
    assert own == set(cluster.failed)
    assert any(line.startswith("shard 1/2: its job ") and f"{len(own)} of its cells" in line for line in lines)
    assert sum(line.startswith("submitted") for line in lines) == 1
    assert {path.stem for path in (out / "cells").glob("*.json")}.isdisjoint(own)
    assert len(list((out / "cells").glob("*.json"))) + len(own) == 6
    assert run(["compare", "--resume", "--out", str(out), "--no-figures"]) == 0
    assert len(list((out / "cells").glob("*.json"))) == 6


# submitit's own Popen objects warn where a loaded machine takes longer than they are waited for
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_cancels_all_jobs(tmp_path: Path) -> None:
    """As by Ctrl-C while they work: it is told as such, and no process of theirs is left."""
    processes: list[psutil.Process] = []

    def tell(line: str) -> None:
        if line.startswith("submitted"):
            processes.extend(job_of(line, shard) for shard in ("1/2", "2/2"))
            raise KeyboardInterrupt

    assert cluster_run(tmp_path / "out", tell).run()
    assert len(processes) == 2
    assert psutil.wait_procs(processes, timeout=20)[1] == []


def test_options_are_what_cells_need_and_the_user_says() -> None:
    """A core for each thread of each cell, a GPU if that is where they train, a day; numbers are numbers."""
    usual = options_of([], jobs=3, threads=2, device="cuda")
    assert usual == {"name": "hpt-compare", "timeout_min": 1440, "cpus_per_task": 6, "gpus_per_node": 1}
    found = options_of(["mem_gb=1.5", "slurm_partition=long", "timeout_min=60"], jobs=1, threads=1, device="cpu")
    expected: dict[str, Any] = {"mem_gb": 1.5, "slurm_partition": "long", "timeout_min": 60, "cpus_per_task": 1}
    assert found == {"name": "hpt-compare", "gpus_per_node": 0} | expected


@pytest.mark.parametrize("text", ["", "a", "a=", "=1", "nodes=2", "tasks_per_node=2"])
def test_options_that_are_none_are_refused(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(UsageError, match=r"--executor-option is .*NAME=VALUE.*timeout_min=240"):
        options_of([text], jobs=1, threads=1, device="cpu")


def test_an_unknown_option_is_refused_before_anything_is_submitted(tmp_path: Path) -> None:
    """In submitit's words; no folder is left."""
    pytest.importorskip("submitit")
    assert compare(tmp_path / "out", *SMALL, *LOCAL, "--executor-option", "tooth=1") == 2
    assert not (tmp_path / "out").exists()


def test_the_request_of_a_folder_is_what_jobs_read(tmp_path: Path) -> None:
    """A job gets the folder's name alone, so that nothing else can differ."""
    out = tmp_path / "out"
    assert compare(out, *SMALL, "--plan-only") == 0
    planned = ComparisonFolder(out).planned()
    wanted = ComparisonRequest(workloads="regression=60", arms="nesterov,frozen", budget="quick", seeds=1)
    assert planned.plan() == wanted.plan()
