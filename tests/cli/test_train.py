"""`hpt train` end to end on a small workload: what it writes, what it refuses, and with which exit code."""

import json
from pathlib import Path

import pytest
import torch
from references.faulty_run import STEPS, losses, stored, train

from hpt.cli.main import run
from hpt.workloads.regression import Regression


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


def test_the_last_lines_say_what_it_came_to_and_quiet_says_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same three lines after the tables and without them; of a finished run too, which is not trained again."""
    assert train() == 0
    usual = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in usual[-3:]] == ["Result", "Meaning", "Next"]
    assert run(["train", "--resume", "out", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == usual[-3:]
    assert train("--out", "again", "--quiet") == 0
    assert capsys.readouterr() == ("\n".join([*usual[-3:], ""]), "")


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
        (["--resume", "nowhere", "--out", "nowhere"], 2, "name the folder of a run"),
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


def test_flags_reach_the_trainer(folder: Path) -> None:
    """--dtype and --threads are in the stored settings and configuration."""
    assert train("--dtype", "bf16", "--predictor", "none") == 0
    record = stored()
    assert record["config"]["precision"]["autocast"] == "bf16"
    assert record["environment"]["threads"] == 1
    assert record["settings"]["dtype"] == "bf16"
