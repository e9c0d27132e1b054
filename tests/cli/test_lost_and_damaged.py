"""A run whose files were lost, damaged or swapped: named and refused, never begun anew in silence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from references.faulty_run import assert_same_run, losses, train

from hpt.cli.main import run


@pytest.fixture
def stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run stopped at batch 56 of 80, checkpoints at updates 15, 30, 45 and at the stop."""
    monkeypatch.setenv("PLANTED_AT", "56")
    monkeypatch.setenv("PLANTED_FAULT", "SIGTERM")
    assert train() == 130
    monkeypatch.delenv("PLANTED_AT")
    return folder / "out"


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def bytes_below(out: Path) -> dict[str, bytes]:
    """Everything in the folder, the lock aside."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def without_the_log(out: Path) -> None:
    (out / "steps.jsonl").unlink()


def without_events(out: Path) -> None:
    (out / "events.jsonl").unlink()


def with_an_empty_log(out: Path) -> None:
    (out / "steps.jsonl").write_text("")


def with_a_damaged_line(out: Path) -> None:
    edit(out / "steps.jsonl", lambda lines: [*lines[:9], b"\x00\x00garbage\n", *lines[10:]])


def without_a_line(out: Path) -> None:
    edit(out / "steps.jsonl", lambda lines: [*lines[:30], *lines[31:]])


def with_two_lines_exchanged(out: Path) -> None:
    edit(out / "steps.jsonl", lambda lines: [*lines[:20], lines[21], lines[20], *lines[22:]])


def with_a_damaged_event(out: Path) -> None:
    edit(out / "events.jsonl", lambda lines: [b"{\n", *lines[1:]])


def without_checkpoints(out: Path) -> None:
    shutil.rmtree(out / "checkpoints")


def with_no_file_in_checkpoints(out: Path) -> None:
    for path in (out / "checkpoints").iterdir():
        path.unlink()


def with_another_seed(out: Path) -> None:
    text = (out / "run.json").read_text()
    (out / "run.json").write_text(text.replace('"seed": 0', '"seed": 1'))


def with_another_setting(out: Path) -> None:
    record = json.loads((out / "run.json").read_text())
    record["config"]["predict"]["window_end_frac"] = 0.5
    (out / "run.json").write_text(json.dumps(record))


def with_another_text(out: Path) -> None:
    record = json.loads((out / "run.json").read_text())
    record["workload"]["sha256"] = "0" * 64
    (out / "run.json").write_text(json.dumps(record))


def with_another_workload(out: Path) -> None:
    record = json.loads((out / "run.json").read_text())
    record["workload"]["name"] = "another"
    (out / "run.json").write_text(json.dumps(record))


LOSSES: dict[Callable[[Path], None], tuple[int, str]] = {
    without_the_log: (1, "steps.jsonl is missing"),
    without_events: (1, "events.jsonl is missing"),
    with_an_empty_log: (1, "steps.jsonl has 0 whole lines"),
    with_a_damaged_line: (1, "steps.jsonl is damaged at line 10 of"),
    without_a_line: (1, "steps.jsonl is damaged at line 31 of"),
    with_two_lines_exchanged: (1, "steps.jsonl is damaged at line 21 of"),
    with_a_damaged_event: (1, "events.jsonl is damaged at line 1 of"),
    without_checkpoints: (1, "checkpoints holds no checkpoint"),
    with_no_file_in_checkpoints: (1, "checkpoints holds no checkpoint"),
    with_another_seed: (1, "was made with seed 0, run.json says 1"),
    with_another_setting: (1, "was made with predict.window_end_frac 0.95, run.json says 0.5"),
    with_another_text: (6, "sha256"),
    with_another_workload: (6, "another"),
}


@pytest.mark.parametrize("lose", LOSSES)
def test_what_is_missing_damaged_or_swapped_is_named_and_nothing_is_touched(
    stopped: Path, capsys: pytest.CaptureFixture[str], lose: Callable[[Path], None]
) -> None:
    """One line with the name and a remedy; every other file of the run keeps its bytes."""
    lose(stopped)
    before = bytes_below(stopped)
    capsys.readouterr()
    code, words = LOSSES[lose]
    assert run(["train", "--resume", "out"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "--out" in line
    assert bytes_below(stopped) == before


def test_a_checkpoint_of_another_run_is_refused(
    stopped: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same workload, same shapes, another seed: copied over the run's own it would go on as a mixture of two."""
    monkeypatch.setenv("PLANTED_AT", "56")
    assert train("--seed", "5", "--out", "other") == 130
    shutil.rmtree(stopped / "checkpoints")
    shutil.copytree("other/checkpoints", stopped / "checkpoints")
    capsys.readouterr()
    assert run(["train", "--resume", "out"]) == 1
    assert "was made with seed 5, run.json says 0" in capsys.readouterr().err


def test_a_new_run_does_not_go_on_from_what_an_old_one_left(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its run.json the folder is somebody's files: neither the log nor a checkpoint is touched."""
    (stopped / "run.json").unlink()
    before = bytes_below(stopped)
    assert train("--seed", "1") == 2
    assert "out holds checkpoints, events.jsonl, steps.jsonl" in capsys.readouterr().err
    assert run(["train", "--resume", "out"]) == 2
    assert "run.json: it is not there" in capsys.readouterr().err
    assert bytes_below(stopped) == before


def test_going_back_to_an_earlier_checkpoint_is_said(
    stopped: Path, whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines that a power failure took are made again, to the same bits, and the user is told."""
    edit(stopped / "steps.jsonl", lambda lines: lines[:-3])
    assert run(["train", "--resume", "out"]) == 0
    assert "the log ends at call 54, so out/checkpoints/step-" in capsys.readouterr().err
    assert_same_run("out", whole)


def test_a_log_shorter_than_every_checkpoint_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three kept checkpoints the earliest is at update 30."""
    edit(stopped / "steps.jsonl", lambda lines: lines[:12])
    assert run(["train", "--resume", "out"]) == 1
    assert "has 12 whole lines" in capsys.readouterr().err
    assert len(losses()) == 12


def test_a_run_that_failed_before_its_first_checkpoint_begins_again_and_says_so(
    folder: Path, whole: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is lost there: nothing had been saved."""
    monkeypatch.setenv("PLANTED_AT", "9")
    monkeypatch.setenv("PLANTED_FAULT", "error")
    assert train() == 1
    monkeypatch.delenv("PLANTED_AT")
    assert run(["train", "--resume", "out"]) == 0
    assert "no checkpoint was written; all 9 calls are redone" in capsys.readouterr().err
    assert_same_run("out", whole)


def test_a_folder_is_for_one_process(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever holds the lock works there; another command changes nothing."""
    import fcntl

    Path("out").mkdir()
    with Path("out/.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert train() == 2
    assert "in use by another process" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == [".lock"]
