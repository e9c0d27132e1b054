"""`hpt train --optimizer`: what it computes, what it refuses, and that a resumed run keeps it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from references.faulty_run import assert_same_run, losses, stored, train
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hpt.cli.main import run
from hpt.optimizers.build import build_optimizers
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.regression import Regression
from hpt.workloads.schedule import warmup_linear, warmup_steps
from hpt.workloads.workload import Workload

STEPS = 40
PLAIN = ["train", "--predictor", "none", "--steps", str(STEPS), "--seed", "3", "--device", "cpu", "--threads", "1"]


def by_hand(
    workload: Workload, name: str, schedule: Callable[[Optimizer, int], LRScheduler] | None
) -> tuple[list[float], float]:
    """Losses of the loop that anyone would write, and the validation loss."""
    model = workload.build_model()
    assert workload.peak_lr is not None
    optimizers = build_optimizers(
        name,
        model,
        peak_lr=workload.peak_lr,
        weight_decay=workload.weight_decay,
        total_steps=STEPS,
        warmup_steps=warmup_steps(STEPS),
    )
    schedulers = [] if schedule is None else [schedule(one, STEPS) for one in optimizers]
    found: list[float] = []
    for index in range(STEPS):
        model.zero_grad()
        loss = workload.loss(model, workload.batch(index))
        loss.backward()
        if workload.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), workload.clip_norm)
        for one in (*optimizers, *schedulers):
            one.step()
        found.append(loss.item())
    for one in optimizers:
        getattr(one, "eval", int)()
    return found, workload.validation_loss(model)


@pytest.mark.parametrize("name", ["adamw", "lion", "soap"])
def test_the_plain_run_is_the_loop_anyone_would_write(folder: Path, name: str) -> None:
    """At the workload's tuned rate, times the optimizer's, on the workload's schedule: bit for bit."""
    assert run([*PLAIN, "--workload", "regression", "--optimizer", name, "--out", "out"]) == 0
    expected = by_hand(Regression(seed=3, device=torch.device("cpu")), name, warmup_linear)
    assert ([loss for _, _, loss in losses()], stored()["final_loss"]) == expected
    assert stored()["settings"]["optimizer"] == name


def test_several_optimizers_each_follow_the_schedule(folder: Path) -> None:
    """Muon for the hidden matrices beside AdamW: the loop anyone would write, bit for bit."""
    assert run([*PLAIN, "--workload", "mlp", "--optimizer", "muon", "--out", "out"]) == 0
    expected = by_hand(TeacherMLP(seed=3, device=torch.device("cpu")), "muon", warmup_linear)
    assert ([loss for _, _, loss in losses()], stored()["final_loss"]) == expected


def test_a_run_of_several_optimizers_is_resumed_bit_for_bit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With jumps; two optimizers, from a factory."""
    factory = ("--optimizer", "references.two_optimizers:make")
    assert train(*factory) == 0
    Path("out").rename("whole")
    monkeypatch.setenv("PLANTED_AT", "47")
    monkeypatch.setenv("PLANTED_FAULT", "SIGTERM")
    assert train(*factory) == 130
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", "whole")


def test_schedulefree_follows_its_own_schedule_and_is_judged_at_its_average(folder: Path) -> None:
    """No scheduler, `.eval()` before the validation loss; `.train()` after it, for the checkpoint and more steps."""
    assert run([*PLAIN, "--workload", "regression", "--optimizer", "schedulefree", "--out", "out"]) == 0
    expected = by_hand(Regression(seed=3, device=torch.device("cpu")), "schedulefree", None)
    assert ([loss for _, _, loss in losses()], stored()["final_loss"]) == expected
    assert run(["train", "--resume", "out", "--steps", str(STEPS + 5)]) == 0
    assert len(losses()) == STEPS + 5


def test_without_the_flag_it_is_the_workloads_own(folder: Path) -> None:
    """And run.json says so, with or without the name."""
    assert run([*PLAIN, "--workload", "regression", "--out", "out"]) == 0
    assert run([*PLAIN, "--workload", "regression", "--optimizer", "workload", "--out", "named"]) == 0
    assert_same_run("out", "named")
    assert stored()["settings"]["optimizer"] == stored("named")["settings"]["optimizer"] == "workload"


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--optimizer", "lyon"], 2, "did you mean lion"),
        (["--optimizer", "schedulefree"], 2, "use --predictor none, or another --optimizer"),
        (["--optimizer", "schedulefree", "--predictor", "nesterov"], 2, "use --predictor none, or another --optimizer"),
        (["--optimizer", "no_such_module:make"], 1, "no_such_module"),
        (["--optimizer", ""], 2, "--optimizer"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, message: str
) -> None:
    """The exit code of its kind, the reason on stderr, and no trace on the disk."""
    assert run(["train", "--workload", "regression", "--out", "out", *flags]) == code
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_an_absent_package_exits_with_6_and_says_what_to_install(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As data or a device that is missing."""
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    assert run(["train", "--workload", "regression", "--out", "out", "--optimizer", "soap"]) == 6
    assert "pip install 'hybrid-predict-trainer[peers]'" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["lion", "soap"])
def test_an_interrupted_run_keeps_its_optimizer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Resumed without the flag, with jumps, it ends as the run that was never stopped; with another it is refused."""
    assert train("--optimizer", name) == 0
    Path("out").rename("whole")
    monkeypatch.setenv("PLANTED_AT", "47")
    monkeypatch.setenv("PLANTED_FAULT", "SIGTERM")
    assert train("--optimizer", name) == 130
    assert run(["train", "--resume", "out", "--optimizer", "adamw"]) == 2
    assert f"--optimizer is adamw, but the run in out was begun with {name}" in capsys.readouterr().err
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", "whole")


def test_a_run_stored_before_there_was_a_choice_goes_on_with_the_workloads_own(
    folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run.json names no optimizer."""
    monkeypatch.setenv("PLANTED_AT", "47")
    monkeypatch.setenv("PLANTED_FAULT", "SIGTERM")
    assert train() == 130
    record = stored()
    del record["settings"]["optimizer"]
    Path("out/run.json").write_text(json.dumps(record))
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", whole)


def test_runs_of_several_optimizers_have_folders_of_their_own(folder: Path) -> None:
    """Where nobody names a folder."""
    assert run([*PLAIN, "--workload", "regression", "--optimizer", "adamw"]) == 0
    assert Path("runs/regression-none-adamw-s3/run.json").exists()
