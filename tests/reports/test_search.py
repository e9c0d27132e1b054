"""Nothing below a folder of runs is passed over in silence, and nothing is waited for."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hpt.bench.measurement import save_baseline
from hpt_reports.evidence import gather
from hpt_reports.kinds import TIMING, TRAINING

NOBODY = 65534


@pytest.fixture
def run_file(stored: Path) -> Path:
    return stored / "train" / "run.json"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may look into every folder; somebody else may not."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["tuning", "cells", "drills", "errors", "baselines", "scenarios", "x.json"])
def test_a_run_may_lie_in_a_folder_of_any_name(run_file: Path, tmp_path: Path, name: str) -> None:
    """Only what lies inside a run's own folder is a part of it."""
    (tmp_path / name).mkdir()
    shutil.copy(run_file, tmp_path / name)
    assert [one.path for one in gather(tmp_path).of(TRAINING)] == [f"{name}/run.json"]


def test_a_link_to_a_folder_is_followed_and_a_ring_of_links_has_an_end(run_file: Path, tmp_path: Path) -> None:
    """A run on another disk counts; the folder that holds the link is not read again."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(run_file, tmp_path / "elsewhere")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "linked").symlink_to(tmp_path / "elsewhere")
    (runs / "ring").symlink_to(runs)
    assert [one.path for one in gather(runs).sources] == ["linked/run.json"]
    assert gather(runs).remarks == ()


@pytest.mark.parametrize("name", ["gone", "gone.json"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, name: str) -> None:
    """It may have been a folder, or a file."""
    (tmp_path / name).symlink_to(tmp_path / "nothing")
    assert [(one.path, one.word) for one in gather(tmp_path).remarks] == [(name, "corrupt")]


def test_a_folder_that_may_not_be_read_is_named(run_file: Path) -> None:
    """With the system's reason; whatever lies beside it is read."""
    runs = Path("/tmp") / f"hpt-unreadable-{os.getpid()}"  # pytest's own folder is closed to others
    try:
        for name in ("closed", "open"):
            (runs / name).mkdir(parents=True)
            shutil.copy(run_file, runs / name)
        (runs / "open" / "run.json").chmod(0o644)
        (runs / "closed").chmod(0o000)
        with as_nobody():
            evidence = gather(runs)
        assert [one.path for one in evidence.sources] == ["open/run.json"]
        assert [(one.path, one.reason) for one in evidence.remarks] == [
            ("closed", "it cannot be read (Permission denied)")
        ]
    finally:
        (runs / "closed").chmod(0o755)
        shutil.rmtree(runs)


@pytest.mark.parametrize("name", ["run.json", "bench.json", "steps.csv", "machine.json"])
def test_a_pipe_is_named_and_not_waited_for(stored: Path, tmp_path: Path, name: str) -> None:
    """Nobody may ever write into it, be it a measurement or what belongs beside one."""
    beside = {"steps.csv": stored / "vram" / "run.json", "machine.json": stored / "bench-default" / "bench.json"}
    if name in beside:
        shutil.copy(beside[name], tmp_path)
    os.mkfifo(tmp_path / name)
    (remark,) = gather(tmp_path).remarks
    assert remark.word == "corrupt"
    assert "it is no regular file" in remark.reason


def test_a_measurement_that_lies_there_twice_counts_once(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A baseline kept of a run is that run; one that was kept of another is a measurement."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stored / "bench-default", "runs/new")
    save_baseline("same", stored / "bench-default" / "bench.json")
    save_baseline("other", stored / "bench-reference" / "bench.json")
    assert {one.path for one in gather(Path("runs")).of(TIMING)} == {"new/bench.json", "baselines/other.json"}
