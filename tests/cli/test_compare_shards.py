"""`hpt compare` by several processes that share a folder: they equal one, survive a kill, and refuse what cannot be."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from references.timeless import timeless_files

from hpt.cli.main import run
from hpt.compare.request import ComparisonFolder
from hpt.compare.shard_run import ShardRun
from hpt.compare.shards import Shard

pytestmark = pytest.mark.processes

SMALL = ["--workloads", "regression=60", "--arms", "nesterov,frozen", "--budget", "quick", "--seeds", "1"]
NUM_CELLS = 6


def compare(out: Path, *words: str) -> int:
    return run(["compare", "--out", str(out), "--tuning-cache", str(out.parent / f"{out.name}-cache"), *words])


def shared(out: Path, *words: str) -> int:
    """With the settings of the folder."""
    return run(["compare", "--out", str(out), *words])


def started(out: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "hpt", "compare", "--resume", "--out", str(out), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def missing(out: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert shared(out, "--list-missing", "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison by one runner."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert compare(out, *SMALL, "--no-figures") == 0
    return out


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    """The same, of which nothing has run."""
    out = tmp_path / "out"
    assert compare(out, *SMALL, "--plan-only") == 0
    return out


def test_two_shards_at_once_equal_one_runner(whole: Path, planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recipes, every cell and the summary, to the last bit; no shard writes a summary, or calls a cell alone."""
    processes = [started(planned, "--shard", f"{index}/2") for index in (1, 2)]
    assert [(process.communicate(), process.returncode)[1] for process in processes] == [0, 0]
    assert not (planned / "summary.json").exists()
    assert missing(planned, capsys)["complete"]
    cells = [json.loads(path.read_text()) for path in (planned / "cells").glob("*.json")]
    assert [cell["result"]["alone"] for cell in cells] == [False] * NUM_CELLS
    assert shared(planned, "--resume", "--no-figures") == 0
    assert "cells " not in capsys.readouterr().err
    assert timeless_files(planned) == timeless_files(whole)


def test_tuning_is_divided_and_equals_that_of_one_runner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each arm's trials are run by one shard, which leaves the cells of the other's arm missing if it is done first.

    In whatever order they are called, the recipes with all trials, the cells and the summary are those of one runner.
    """
    flags = ["--workloads", "regression=20", "--arms", "nesterov", "--budget", "quick", "--seeds", "1", "--tune"]
    one, many = tmp_path / "one", tmp_path / "many"
    assert compare(one, *flags, "--no-figures") == 0
    assert compare(many, *flags, "--plan-only") == 0
    folder = ComparisonFolder(many)
    request = folder.planned()
    count, owners = next(
        (count, owners) for count in range(2, 20) if len(set(owners := owners_of(request, folder, count))) == 2
    )
    capsys.readouterr()
    assert shared(many, "--resume", "--shard", f"{owners[0]}/{count}") == 0
    told = capsys.readouterr().err
    assert told.count("-trial-") == 9 + 3
    assert "they need the recipe of nesterov on regression, which another shard runs" in told
    assert missing(many, capsys)["waits_for"] == [{"what": "recipe", "workload": "regression", "arm": "nesterov"}]
    assert shared(many, "--resume", "--shard", f"{owners[1]}/{count}") == 0
    assert capsys.readouterr().err.count("-trial-") == 9 + 3
    assert missing(many, capsys)["waits_for"] == []
    assert shared(many, "--resume", "--no-figures") == 0
    assert "-trial-" not in capsys.readouterr().err
    assert timeless_files(many) == timeless_files(one)


def owners_of(request: Any, folder: ComparisonFolder, count: int) -> list[int]:
    """The shards of a count that settle the recipes of baseline and method."""
    shards = [Shard(index, count) for index in range(1, count + 1)]
    runs = [ShardRun(request, folder, shard, jobs=1, show=lambda *_: pytest.fail("nothing runs")) for shard in shards]
    standing = runs[0].standing()
    names = [arm.name for _, arm in standing.open_places]
    by_name = {arm.name: index for index, one in enumerate(runs, 1) for _, arm in one.work(standing)[0]}
    return [by_name[name] for name in names]


def test_cells_of_a_killed_shard_are_missing_and_collected(
    whole: Path, planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL after its first cell: the others are listed by name, plain --resume runs them, the end is the same."""
    with started(planned, "--shard", "1/1") as process:
        assert process.stderr is not None
        process.stderr.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL
    there = {path.stem for path in (planned / "cells").glob("*.json")}
    listed = {cell["key"] for cell in missing(planned, capsys)["cells"]}
    wanted = {path.stem for path in (whole / "cells").glob("*.json")}
    assert 1 <= len(there) < NUM_CELLS
    assert listed == wanted - there
    assert shared(planned, "--resume", "--no-figures") == 0
    assert timeless_files(planned) == timeless_files(whole)


def test_a_shard_runs_its_own_cells_while_the_folder_is_locked(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes no lock, and leaves the cells of the others alone."""
    first = missing(planned, capsys)["cells"][0]["key"]
    index = next(index for index in range(1, 4) if Shard(index, 3).has(first))
    own = {cell["key"] for cell in missing(planned, capsys)["cells"] if Shard(index, 3).has(cell["key"])}
    from hpt.run.folder import locked

    with locked(planned, "comparison", "comparison.json"):
        assert shared(planned, "--resume", "--shard", f"{index}/3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cells"] == []
    assert {path.stem for path in (planned / "cells").glob("*.json")} == own


def test_a_plan_names_what_is_missing(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One name a line, for other programs; those that the plan printed are those that are listed."""
    capsys.readouterr()
    assert shared(planned, "--list-missing") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [cell["key"] for cell in missing(planned, capsys)["cells"]]
    assert len(lines) == NUM_CELLS
    assert shared(planned, "--resume", "--plan-only", "--seeds", "2") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * NUM_CELLS


@pytest.mark.parametrize("words", [["--resume", "--shard", "1/2"], ["--list-missing"]])
def test_settings_other_than_the_plans_are_refused(
    planned: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Two shards would run two comparisons; the same settings may be repeated."""
    assert shared(planned, *words, "--seeds", "2") == 2
    assert (
        "--seeds is 2, but all shards run what was planned, where it is 1; "
        "leave it out, or plan again first, with --resume --plan-only"
    ) in capsys.readouterr().err
    assert shared(planned, *words, "--dtype", "bf16") == 2
    assert "--dtype is bf16, but all shards run what was planned, where it is left open" in capsys.readouterr().err
    assert shared(planned, "--list-missing", "--seeds", "1") == 0
    assert not (planned / "cells").exists()


def test_a_shard_needs_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It cannot know what the others run; nothing is made."""
    out = tmp_path / "out"
    assert shared(out, "--resume", "--shard", "1/2") == 2
    assert f"{out} holds no comparison (comparison.json is not there); plan it first" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume", "--shard", "0/4"], "--shard is '0/4', it must be I/N with I from 1 to N"),
        (["--shard", "1/4"], "add --resume"),
        (["--resume", "--shard", "1/4", "--list-missing"], "--shard and --list-missing exclude each other"),
        (["--plan-only", "--executor", "submitit:local", "--shards", "2"], "--plan-only and --executor exclude"),
        (["--executor", "submitit:local"], "--executor and --shards need each other"),
        (["--shards", "2"], "--executor and --shards need each other"),
        (["--executor-option", "a=1"], "--executor-option is for --executor"),
        (["--plan-only", "--resolve", "3%"], "--resolve is 3 %, and shards cannot wait"),
    ],
)
def test_words_that_make_no_sense_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    """Usage, one line, no folder."""
    assert shared(tmp_path / "out", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "out").exists()


def test_a_missing_submitit_is_told_with_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there is a folder or a job."""
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert compare(tmp_path / "out", *SMALL, "--executor", "submitit:local", "--shards", "2") == 6
    assert "pip install 'hybrid-predict-trainer[cluster]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_device_that_only_other_machines_have_can_be_planned_for(tmp_path: Path) -> None:
    """A plan is made where the file system is, a shard is refused where the device is missing."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has it")
    out = tmp_path / "out"
    assert compare(out, *SMALL, "--device", "cuda", "--plan-only") == 0
    assert shared(out, "--resume", "--shard", "1/1") == 6
