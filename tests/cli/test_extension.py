"""`hpt train --resume --steps N`: a finished run goes on to more updates, and its record says so."""

from pathlib import Path

import pytest
from references.faulty_run import assert_same_run, losses, stored, train

from hpt.cli.main import run
from hpt.run.folder import RunFolder
from hpt.run.request import TrainRequest
from hpt.run.session import TrainSession
from hpt.run.settings import TrainSettings


def stored_bytes() -> dict[Path, bytes]:
    """Everything in the folder."""
    return {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}


def test_a_finished_run_goes_on_to_more_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its log continues without a gap, its record says both lengths, and what was done keeps its bytes."""
    assert train() == 0
    short, before = losses(), stored()
    assert run(["train", "--resume", "out", "--steps", "120"]) == 0
    record = stored()
    assert losses()[: len(short)] == short
    assert [call for call, _, _ in losses()] == list(range(1, record["num_calls"] + 1))
    assert (record["num_updates"], record["settings"]["steps"], record["config"]["total_steps"]) == (120, 120, 120)
    assert (record["earlier_steps"], record["num_resumes"]) == ([80], 1)
    assert record["final_loss"] != before["final_loss"]
    assert losses()[-1][0] > short[-1][0]


def test_an_extension_can_be_interrupted_and_extended_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same losses as when nothing stopped it, bit for bit."""
    for out in ("out", "undisturbed"):
        assert train("--out", out) == 0
    assert run(["train", "--resume", "undisturbed", "--steps", "110"]) == 0
    monkeypatch.setenv("PLANTED_AT", "100")
    monkeypatch.setenv("PLANTED_FAULT", "SIGTERM")
    assert run(["train", "--resume", "out", "--steps", "110"]) == 130
    monkeypatch.delenv("PLANTED_AT")
    assert run(["train", "--resume", "out"]) == 0
    assert_same_run("out", "undisturbed")
    assert run(["train", "--resume", "out", "--steps", "130"]) == 0
    assert stored()["earlier_steps"] == [80, 110]


def test_the_cycle_of_an_extended_run_stays(folder: Path) -> None:
    """K is 10 as it was; a run of 1200 updates would have begun with 12."""
    plain = ["--workload", "mlp", "--predictor", "nesterov", "--device", "cpu", "--threads", "1"]
    assert run(["train", *plain, "--steps", "30", "--out", "out"]) == 0
    before = RunFolder(Path("out")).read()
    request = TrainRequest(
        settings=TrainSettings.of_stored(before.settings),
        values=before.config | {"total_steps": 1200},
        folder=RunFolder(Path("out")),
        command=before.command,
        before=before,
    )
    config = TrainSession(request).trainer.config
    assert (config.cycle_steps, config.total_steps) == (10, 1200)


@pytest.mark.parametrize(("steps", "code", "words"), [("40", 2, "has made 80; name more"), ("80", 0, "is finished")])
def test_no_more_steps_are_no_extension(
    folder: Path, capsys: pytest.CaptureFixture[str], steps: str, code: int, words: str
) -> None:
    """The run stays as it is."""
    assert train() == 0
    before = stored_bytes()
    assert run(["train", "--resume", "out", "--steps", steps]) == code
    assert words in capsys.readouterr().err
    assert stored_bytes() == before
