"""Whatever stops a run, signal, kill, fault or full disk: resumed, it ends as if it had never been stopped."""

import json
import resource
import signal
from pathlib import Path

import pytest
from references.faulty_run import FLAGS, QUIET, STEPS, assert_same_run, losses, stored, train
from references.fresh_process import run_fresh

from hpt.cli.main import run


@pytest.mark.parametrize("at", [9, 56])
def test_a_failed_run_goes_on_from_its_checkpoint(
    folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Before the first checkpoint and after some: once the fault is mended, the run ends as if it had never been."""
    monkeypatch.setenv("PLANTED_AT", str(at))
    monkeypatch.setenv("PLANTED_FAULT", "error")
    assert train() == 1
    monkeypatch.delenv("PLANTED_AT")
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", whole)


@pytest.mark.parametrize(("fault", "at"), [("SIGINT", 7), ("SIGTERM", 47), ("SIGINT", 63)])
def test_an_interrupted_run_resumes_bit_for_bit(
    folder: Path,
    whole: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    at: int,
) -> None:
    """It stops after the step, says how to go on, and the whole equals the run that was never stopped."""
    monkeypatch.setenv("PLANTED_AT", str(at))
    monkeypatch.setenv("PLANTED_FAULT", fault)
    assert train() == 130
    assert "hpt train --resume out" in capsys.readouterr().err
    record = stored()
    assert (record["status"], record["num_calls"], record["final_loss"]) == ("interrupted", at + 1, None)
    assert run(["train", "--resume", "out"]) == 0
    assert stored()["num_resumes"] == 1
    assert_same_run("out", whole)


def test_a_killed_run_resumes_bit_for_bit(folder: Path, whole: str) -> None:
    """SIGKILL between two checkpoints: no line is lost, none is there twice."""
    planted = {"PLANTED_AT": "53", "PLANTED_FAULT": "SIGKILL"}
    done = run_fresh("hpt.cli.main:run", ["train", *FLAGS, *QUIET, "--out", "out"], environment=planted)
    assert done.returncode == -signal.SIGKILL
    assert stored()["status"] == "running"
    assert len(losses()) == 53
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", whole)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    folder: Path, whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file may grow beyond 12 kB: one line and exit code 6; with room again the run ends like any other."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, hard))
    try:
        assert train() == 6
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "free some space" in capsys.readouterr().err.splitlines()[-1]
    assert 0 < len(losses()) < STEPS
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", whole)


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int = 56) -> list[Path]:
    """A run stopped after that batch; its checkpoints, oldest first."""
    monkeypatch.setenv("PLANTED_AT", str(at))
    monkeypatch.setenv("PLANTED_FAULT", "SIGTERM")
    assert train() == 130
    monkeypatch.delenv("PLANTED_AT")
    return sorted(Path("out/checkpoints").iterdir())


def test_a_broken_checkpoint_is_refused_and_the_one_before_works(
    folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message is a command that goes on from the good one, and that run ends like the undisturbed one."""
    *_, good, newest = interrupted(monkeypatch)
    newest.write_bytes(newest.read_bytes()[:-100])
    capsys.readouterr()
    assert run(["train", "--resume", "out"]) == 1
    _, err = capsys.readouterr()
    assert f"hpt train --resume {good}" in err
    assert len(err.splitlines()) == 1
    assert run(["train", "--resume", str(good)]) == 0
    assert_same_run("out", whole)


def test_a_log_that_lost_its_last_lines_goes_back_one_checkpoint(
    folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure the checkpoint may be newer than the log; the calls between are redone."""
    interrupted(monkeypatch)
    log = Path("out/steps.jsonl")
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-3]))
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", whole)


@pytest.mark.parametrize("flags", [["--seed", "1"], ["--steps", "5"], ["--predictor", "none"], ["--out", "x"]])
def test_a_resumed_run_cannot_become_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """The refusal names the flag, and the run stays as it is."""
    interrupted(monkeypatch)
    before = stored()
    assert run(["train", "--resume", "out", *flags]) == 2
    assert f"{flags[0]} is {flags[1]}" in capsys.readouterr().err
    assert stored() == before


def test_resume_finds_the_folder_that_out_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--resume` alone, last or before another flag, means the folder of this command line."""
    interrupted(monkeypatch)
    assert run(["train", "--resume", "--out", "out"]) == 0
    assert stored()["status"] == "done"
    assert run(["train", "--out", "out", "--resume"]) == 0


def test_other_data_is_refused_on_resume(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chance level is the data's fingerprint."""
    interrupted(monkeypatch)
    record = stored()
    record["workload"]["chance_loss"] *= 1.001
    Path("out/run.json").write_text(json.dumps(record))
    assert run(["train", "--resume", "out"]) == 6
