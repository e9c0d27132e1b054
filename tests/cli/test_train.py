"""`hpt train` end to end on a small workload: what it writes and refuses, and that a stop loses nothing."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from hpt.cli.main import run
from hpt.store import read_lines
from hpt.workloads.regression import Regression

PLANTED = '''
"""Regression that meets a fault at the batch PLANTED_AT."""
import os
import signal

import torch

from hpt.workloads.regression import Regression


class Planted(Regression):
    name = "planted"

    def batch(self, index):
        if index == int(os.environ.get("PLANTED_AT", -1)):
            self.meet(os.environ["PLANTED_FAULT"])
        return super().batch(index)

    def meet(self, fault):
        if fault == "error":
            raise ValueError("the data ended early")
        os.kill(os.getpid(), getattr(signal, fault))

    def build_model(self):
        model = super().build_model()
        if os.environ.get("PLANTED_MODEL") == "frozen":
            model.requires_grad_(False)
        return model

    def loss(self, model, batch):
        mean = super().loss(model, batch)
        faults = {"vector": mean.expand(2), "nan": mean * float("nan")}
        return faults.get(os.environ.get("PLANTED_LOSS"), mean)


def make(seed, data, device):
    return Planted(seed=seed, device=device)
'''
SETTINGS = """
warmup_steps = 20
full_steps = 10
gate = "always"
[predict]
window_start_frac = 0.1
window_end_frac = 0.95
[checkpoint]
save_interval = 15
"""
STEPS = 80


@contextmanager
def prepared(path: Path) -> Iterator[Path]:
    """A working folder with settings and the planted workload; all global state comes back afterwards."""
    (path / "planted_workload.py").write_text(PLANTED)
    (path / "settings.toml").write_text(SETTINGS)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path)
        patch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)
        patch.chdir(path)
        yield path
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    sys.modules.pop("planted_workload", None)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a test works."""
    with prepared(tmp_path) as path:
        yield path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run that nothing disturbed."""
    with prepared(tmp_path_factory.mktemp("whole")) as path:
        assert train() == 0
    return str(path / "out")


def train(*extra: str, out: str = "out", workload: str = "planted_workload:make") -> int:
    arguments = [
        "--workload",
        workload,
        "--steps",
        str(STEPS),
        "--config",
        "settings.toml",
        "--device",
        "cpu",
    ]
    return run(["train", *arguments, "--predictor", "nesterov", "--threads", "1", "--out", out, *extra])


def stored(out: str = "out") -> dict[str, Any]:
    return json.loads(Path(out, "run.json").read_text())


def losses(out: str = "out") -> list[tuple[int, str, float]]:
    return [(line["call"], line["phase"], line["loss"]) for line in read_lines(Path(out, "steps.jsonl"))]


def events(out: str = "out") -> list[dict[str, Any]]:
    """Everything but times and memory, which no two runs share."""
    lines = [line for line in read_lines(Path(out, "events.jsonl")) if line["kind"] != "memory"]
    return [{key: value for key, value in line.items() if key != "wall_s"} for line in lines]


def assert_same_run(one: str, other: str) -> None:
    assert losses(one) == losses(other)
    assert stored(one)["final_loss"] == stored(other)["final_loss"]
    assert stored(one)["phases"] == stored(other)["phases"]
    assert stored(one)["counters"] == stored(other)["counters"]


def test_the_plain_run_is_the_loop_anyone_would_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--predictor none: losses and the validation loss equal those of ten lines of PyTorch, bit for bit."""
    plain = ["train", "--workload", "regression", "--predictor", "none", "--steps", "40", "--seed", "3"]
    assert run([*plain, "--device", "cpu", "--threads", "1", "--out", "out", "--json"]) == 0
    workload = Regression(seed=3, device=torch.device("cpu"))
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    scheduler = workload.build_scheduler(optimizer, 40)
    expected: list[float] = []
    for index in range(40):
        optimizer.zero_grad()
        loss = workload.loss(model, workload.batch(index))
        loss.backward()
        optimizer.step()
        scheduler.step()
        expected.append(loss.item())
    assert [loss for _, _, loss in losses()] == expected
    assert stored()["final_loss"] == workload.validation_loss(model)
    out, err = capsys.readouterr()
    assert json.loads(out) == stored()
    assert "step 40/40" in err


def test_run_json_holds_what_happened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings, facts and counts, and the counts agree with the log."""
    assert train("--seed", "2", "--log", "csv") == 0
    record, lines = stored(), losses()
    assert (record["status"], record["seed"], record["schema_version"]) == ("done", 2, 1)
    assert record["workload"]["chance_loss"] > record["final_loss"] > 0.0
    assert record["settings"]["steps"] == record["num_updates"] == record["config"]["total_steps"] == STEPS
    assert record["num_calls"] == len(lines) == sum(record["phases"].values())
    assert record["phases"] == {
        phase: sum(line[1] == phase for line in lines) for phase in ("WARMUP", "FULL", "PREDICT", "CORRECT")
    }
    assert record["counters"]["jumps_accepted"] > 0
    assert record["environment"]["torch"]
    assert Path("out/steps.csv").read_text().count("\n") == len(lines) + 1
    assert list(Path("out/checkpoints").iterdir())
    out, _ = capsys.readouterr()
    assert "chance level" in out
    assert "Files: out" in out


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--workload", "byte-gtp"], 2, "did you mean byte-gpt"),
        (["--predictor", "nesterof"], 2, "did you mean 'nesterov'"),
        (["--config", "absent.toml"], 2, "cannot be read"),
        (["--steps", "0"], 2, "0 is not in the range"),
        (["--dtype", "fp8"], 2, "'fp8' is not one of"),
        (["--log", "xml"], 2, "is no export"),
        (["--device", "abacus"], 2, "torch does not know"),
        (["--device", "meta"], 6, "not available on this machine"),
        (["--workload", "byte-gpt", "--data", "absent.txt"], 6, "absent.txt"),
        (["--out", "settings.toml"], 2, "is a file"),
        (["--out", "settings.toml/inner"], 2, "is a file"),
        (["--resume", "nowhere", "--out", "nowhere"], 2, "holds no run"),
        (["--workload", "no_such_module:make"], 1, "no_such_module"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, message: str
) -> None:
    """The exit code of its kind, the reason on stderr, and no trace on the disk."""
    before = sorted(folder.iterdir())
    assert run(["train", "--workload", "regression", "--out", "out", *flags]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("planted", "code", "message"),
    [
        ({"PLANTED_MODEL": "frozen"}, 2, "requires a gradient"),
        ({"PLANTED_LOSS": "vector"}, 2, "scalar"),
        ({"PLANTED_LOSS": "nan"}, 3, "not finite"),
        ({"PLANTED_AT": "30", "PLANTED_FAULT": "error"}, 1, "the data ended early"),
    ],
)
def test_a_fault_in_the_run_has_its_exit_code_and_is_in_the_record(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    planted: dict[str, str],
    code: int,
    message: str,
) -> None:
    """One line that says what is wrong; once the run has begun, run.json says it too."""
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    assert train() == code
    _, err = capsys.readouterr()
    assert message in err.splitlines()[-1]
    if Path("out/run.json").exists():
        assert stored()["status"] == "failed"
        assert message in stored()["message"]


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


def test_a_finished_run_is_neither_overwritten_nor_repeated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second start is refused with the remedy; resuming it says that it is done and shows it."""
    assert train() == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*.json*")}
    assert train() == 2
    assert "hpt train --resume out" in capsys.readouterr().err
    assert run(["train", "--resume", "out", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == stored()
    assert "finished" in err
    assert {path: path.read_bytes() for path in Path("out").rglob("*.json*")} == before


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
    assert [line for line in events() if line["kind"] == "jump"] == [
        line for line in events(whole) if line["kind"] == "jump"
    ]


def test_a_killed_run_resumes_bit_for_bit(folder: Path, whole: str) -> None:
    """SIGKILL between two checkpoints: no line is lost, none is there twice."""
    at = 53
    command = [
        sys.executable,
        "-m",
        "hpt",
        "train",
        "--workload",
        "planted_workload:make",
        "--steps",
        str(STEPS),
    ]
    flags = ["--config", "settings.toml", "--predictor", "nesterov", "--threads", "1", "--device", "cpu"]
    done = subprocess.run(
        [*command, *flags, "--out", "out"],
        env=os.environ | {"PLANTED_AT": str(at), "PLANTED_FAULT": "SIGKILL"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert stored()["status"] == "running"
    assert len(losses()) == at
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


def test_flags_reach_the_trainer(folder: Path) -> None:
    """--dtype, --profile and --threads are in the stored settings and configuration."""
    assert train("--dtype", "bf16", "--profile", "conservative", "--predictor", "none") == 0
    record = stored()
    assert record["config"]["precision"]["autocast"] == "bf16"
    assert record["config"]["profile"] == "conservative"
    assert record["config"]["warmup_steps"] == 200
    assert record["environment"]["threads"] == 1
    assert record["settings"]["dtype"] == "bf16"
