"""A full disk, and other trouble on the way: told when it happens, counted at the end, and no result is lost."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from references.faulty_run import FaultyRegression, assert_same_run, losses, stored, train

from hpt.cli.main import run


@contextmanager
def no_room_for_checkpoints(largest_bytes: int = 26_000) -> Iterator[None]:
    """No file of this process may grow beyond that: logs and records fit, and no checkpoint but the very first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_finished_run_keeps_its_result_when_no_checkpoint_fits(
    folder: Path, whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown and stored before the last save fails; the exit code is that of the disk."""
    with no_room_for_checkpoints():
        assert train() == 6
    record, undisturbed = stored(), stored(whole)
    assert (record["status"], record["final_loss"]) == ("done", undisturbed["final_loss"])
    assert "the last checkpoint is missing" in record["message"]
    assert record["troubles"] == {"failed checkpoints": 5}
    assert losses() == losses(whole)
    out, err = capsys.readouterr()
    assert f"{record['final_loss']:.4g}" in out
    assert "failed checkpoints" in out
    told = [line for line in err.splitlines() if line.startswith("failed checkpoints:")]
    assert [line.split(",")[0] for line in told] == [f"failed checkpoints: {count}" for count in (1, 2, 4)]
    assert "free some space" in err.splitlines()[-1]


def test_json_is_printed_before_the_last_save(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document, whole, with the loss."""
    with no_room_for_checkpoints():
        assert train("--json") == 6
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["final_loss"]) == ("done", stored()["final_loss"])


def test_a_result_is_told_even_when_run_json_cannot_be_written(
    folder: Path, whole: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up during the validation; with room again the run is resumed and ends like any other."""
    evaluate, (soft, hard) = FaultyRegression.validation_loss, resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self: FaultyRegression, model: torch.nn.Module) -> float:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        return evaluate(self, model)

    monkeypatch.setattr(FaultyRegression, "validation_loss", filling)
    try:
        assert train("--json") == 6
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert json.loads(capsys.readouterr().out)["final_loss"] == stored(whole)["final_loss"]
    assert stored()["status"] == "running"
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", whole)


def test_a_run_whose_saves_all_failed_begins_again_and_says_so(
    folder: Path, whole: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to go on from, and the log says why; that is no lost checkpoint."""
    monkeypatch.setenv("PLANTED_AT", "38")
    monkeypatch.setenv("PLANTED_FAULT", "error")
    with no_room_for_checkpoints(14_000):
        assert train() == 1
    monkeypatch.delenv("PLANTED_AT")
    capsys.readouterr()
    assert run(["train", "--resume", "out"]) == 0
    assert "no checkpoint was written; all 38 calls are redone" in capsys.readouterr().err
    assert_same_run("out", whole)


def test_skipped_updates_are_told_and_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that is not finite: a line when it happens, a row in the summary, a number in the record."""
    monkeypatch.setenv("PLANTED_AT", "33")
    monkeypatch.setenv("PLANTED_FAULT", "nan")
    assert train() == 0
    assert stored()["troubles"] == {"skipped updates": 1}
    out, err = capsys.readouterr()
    assert "skipped updates" in out
    assert any(line.startswith("skipped updates: 1, at update ") for line in err.splitlines())


def test_trouble_before_a_stop_counts_in_the_whole_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: what is redone is not counted twice."""
    monkeypatch.setenv("PLANTED_AT", "33")
    monkeypatch.setenv("PLANTED_FAULT", "nan")
    assert train() == 0
    assert run(["train", "--resume", "out", "--steps", "90"]) == 0
    assert stored()["troubles"] == {"skipped updates": 1}


@pytest.mark.parametrize("predictor", ["none", "nesterov"])
def test_a_validation_loss_that_is_not_finite_is_no_success(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, predictor: str
) -> None:
    """Exit code 3, "failed" in the record and in the summary, and no number."""
    evaluate = FaultyRegression.validation_loss
    monkeypatch.setattr(FaultyRegression, "validation_loss", lambda *given: evaluate(*given) * float("inf"))
    assert train("--predictor", predictor) == 3
    record = stored()
    assert (record["status"], record["final_loss"]) == ("failed", None)
    assert "the validation loss is inf after 80 updates" in record["message"]
    out, err = capsys.readouterr()
    assert "failed: the validation loss is inf" in out
    assert "lower the learning rate" in err.splitlines()[-1]


def test_the_plain_loop_that_ran_into_nan_has_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no guards: the weights are not finite from the batch on, and the end says so."""
    monkeypatch.setenv("PLANTED_AT", "33")
    monkeypatch.setenv("PLANTED_FAULT", "nan")
    assert train("--predictor", "none") == 3
    assert stored()["status"] == "failed"
