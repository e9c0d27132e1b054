"""`hpt train` under torchrun: several processes make one run, with one folder, one voice and one end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from references.faulty_run import SETTINGS, STEPS, assert_same_run, losses, stored
from references.fresh_process import Ended, run_fresh
from references.torchrun_train import RUN, checkpoint, in_two, on_joint_batches

pytestmark = pytest.mark.processes

TORCHRUN = "torchrun --nproc-per-node 2 -m hpt train"
AT = 106
"""Batch of the first process in call 54, between two checkpoints, after a jump; the next is the second process's."""
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where all of them work, with the settings file."""
    path = tmp_path_factory.mktemp("torchrun")
    (path / "settings.toml").write_text(SETTINGS)
    with chdir(path):
        yield


@pytest.fixture(scope="module")
def whole() -> list[Ended]:
    """How the processes of a run ended that nothing disturbed."""
    return in_two(*RUN, "--out", "whole")


@pytest.fixture(scope="module")
def dropping() -> str:
    """The folder of such a run with dropout."""
    assert codes(in_two(*RUN, "--out", "dropping", model="dropout")) == [0, 0]
    return "dropping"


def codes(ended: list[Ended]) -> list[int]:
    return [one.returncode for one in ended]


def told_once(ended: list[Ended]) -> str:
    """What the first process wrote on stderr; the other wrote nothing anywhere."""
    assert (ended[1].stdout, ended[1].stderr) == ("", "")
    return ended[0].stderr


def weights_in(out: str) -> dict[str, torch.Tensor]:
    return checkpoint(out)["training"]["model"]


def assert_same_weights(one: str, other: str) -> None:
    mine, theirs = weights_in(one), weights_in(other)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_two_processes_make_one_run(whole: list[Ended]) -> None:
    """Every call once in one log, one result from the first process, the number of processes in the record."""
    assert codes(whole) == [0, 0]
    assert "step 80/80" in told_once(whole)
    assert whole[0].stdout.count("Result:") == 1
    record = stored("whole")
    assert [call for call, _, _ in losses("whole")] == list(range(1, record["num_calls"] + 1))
    assert (record["status"], record["num_updates"], record["environment"]["num_processes"]) == ("done", STEPS, 2)


def test_it_is_the_run_of_one_process_on_the_batches_of_both(whole: list[Ended]) -> None:
    """With the same jumps; in single precision sums over halves are rounded otherwise."""
    record, mine = stored("whole"), weights_in("whole")
    assert record["counters"]["jumps_accepted"] > 0
    for name, one in on_joint_batches(record["config"]).items():
        assert float((mine[name] - one).norm() / one.norm()) < 1e-5


def test_processes_draw_from_streams_of_their_own(dropping: str) -> None:
    """Dropout is another in each."""
    first, second = (one["torch"]["cpu"] for one in checkpoint(dropping)["rng"])
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("fault", "at"), [("SIGINT", AT), ("SIGTERM", AT + 1)])
def test_a_signal_to_one_process_stops_both(fault: str, at: int, dropping: str) -> None:
    """Before the same call, with one command to go on by, after which all is as if it had never been stopped."""
    out = f"{fault}-{at}"
    ended = in_two(*RUN, "--out", out, fault=fault, at=str(at), model="dropout")
    assert codes(ended) == [130, 130]
    assert told_once(ended).splitlines()[-1] == f"interrupted; to continue: {TORCHRUN} --resume {out}"
    record = stored(out)
    assert record["status"] == "interrupted"
    assert AT // 2 < record["num_calls"] <= AT // 2 + 1 + record["config"]["full_steps"]
    assert codes(in_two("--resume", out, model="dropout")) == [0, 0]
    assert_same_run(out, dropping)
    assert_same_weights(out, dropping)


def test_a_stop_in_the_middle_of_an_accumulated_update_changes_nothing() -> None:
    """The signal comes in the second of three micro-batches; each process's gradients so far are stored."""
    text = SETTINGS + "[update]\naccumulation_steps = 3\n"
    Path("accumulating.toml").write_text(text)
    words = (*RUN, "--out", "parts", "--config", "accumulating.toml")
    assert codes(in_two(*words, fault="SIGTERM", at="44")) == [130, 130]
    assert codes(in_two("--resume", "parts")) == [0, 0]
    assert codes(in_two(*words[:-3], "unparted", *words[-2:])) == [0, 0]
    assert_same_run("parts", "unparted")
    assert_same_weights("parts", "unparted")


def test_a_process_that_is_killed_ends_the_other(whole: list[Ended]) -> None:
    """The first tells so in one line; resumed, the run is as if it had never been."""
    ended = in_two(*RUN, "--out", "killed", fault="SIGKILL", at=str(AT + 1))
    assert codes(ended) == [1, -signal.SIGKILL]
    *_, last = told_once(ended).splitlines()
    assert "ended without a word" in last
    assert f"{TORCHRUN} --resume killed" in last
    record = stored("killed")
    assert (record["status"], last) == ("failed", f"hpt: {record['message']}")
    assert codes(in_two("--resume", "killed")) == [0, 0]
    assert_same_run("killed", "whole")
    assert_same_weights("killed", "whole")


def test_the_other_tells_where_the_first_was_killed(whole: list[Ended]) -> None:
    """The record is as of a single process that was killed, and the run goes on as well."""
    first, second = in_two(*RUN, "--out", "headless", fault="SIGKILL", at=str(AT))
    assert (first.returncode, second.returncode) == (-signal.SIGKILL, 1)
    assert len(second.stderr.splitlines()) == 1
    assert f"{TORCHRUN} --resume headless" in second.stderr
    assert stored("headless")["status"] == "running"
    assert codes(in_two("--resume", "headless")) == [0, 0]
    assert_same_run("headless", "whole")


def test_what_fails_in_one_process_is_told_by_the_first() -> None:
    """With the place where it failed, and both end alike."""
    ended = in_two(*RUN, "--out", "failed", fault="error", at=str(AT + 1))
    assert codes(ended) == [1, 1]
    *_, last = told_once(ended).splitlines()
    assert last.startswith("hpt: process 1 of 2: a plug-in failed, ValueError: the data ended early, in ")
    assert stored("failed")["status"] == "failed"


def test_a_loss_that_is_no_number_is_told_once() -> None:
    """Both find the same, and say it with one voice."""
    ended = in_two(*RUN, "--out", "broken", loss="nan")
    assert codes(ended) == [3, 3]
    assert told_once(ended).count("hpt: ") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--steps", "0"], 2, "0 is not in the range"),
        (["--predictor", "nesterof"], 2, "did you mean 'nesterov'"),
        (["--workload", "byte-gtp"], 2, "did you mean byte-gpt"),
        (["--workload", "byte-gpt", "--data", "absent"], 6, "absent"),
        (["--device", "abacus"], 2, "torch does not know"),
        (["--config", "absent.toml"], 2, "cannot be read"),
        (["--out", "whole"], 2, f"already holds a run (done); continue it with {TORCHRUN} --resume whole"),
        (["--resume", "nowhere"], 2, "nowhere/run.json"),
    ],
)
def test_a_refusal_is_told_once(words: list[str], code: int, message: str, whole: list[Ended]) -> None:
    """By the first process, and both end with its exit code."""
    begins = [] if "--resume" in words else [*RUN, "--out", "refused"]
    ended = in_two(*begins, *words)
    assert codes(ended) == [code, code]
    assert told_once(ended).count(message) == 1
    assert not Path("refused").exists()


def test_another_number_of_processes_goes_on() -> None:
    """One from two, then two from one: every call once, and the record says how many there were last."""
    assert codes(in_two(*RUN, "--out", "changed", fault="SIGTERM", at="60")) == [130, 130]
    planted = {"PLANTED_FAULT": "SIGTERM", "PLANTED_AT": "55"}
    assert run_fresh("hpt.cli.main:run", ["train", "--resume", "changed"], environment=planted).returncode == 130
    assert stored("changed")["environment"]["num_processes"] == 1
    assert codes(in_two("--resume", "changed")) == [0, 0]
    record = stored("changed")
    assert (record["status"], record["environment"]["num_processes"], record["num_resumes"]) == ("done", 2, 2)
    assert [call for call, _, _ in losses("changed")] == list(range(1, record["num_calls"] + 1))


def test_ctrl_c_stops_torchrun(tmp_path: Path) -> None:
    """The command as the documentation has it: torchrun passes the signal on, and a checkpoint is there."""
    words = ["train", "--workload", "mlp", "--predictor", "none", "--steps", "100000", "--quiet", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "hpt", *words]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "steps.jsonl"
    try:
        while not (log.exists() and log.stat().st_size):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err.count(f"interrupted; to continue: {TORCHRUN} --resume run") == 1
    record: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["num_calls"]) == ("interrupted", len(log.read_text().splitlines()))
    assert " ".join(record["command"]).startswith(f"{TORCHRUN} --workload mlp")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) > 0
