"""How a job's process ends is read from the process, and what it sent is kept as it comes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpt.errors import UsageError
from hpt.validate import run
from hpt.validate.plan import ValidationJob, ValidationRequest
from hpt.validate.results import DONE, FAILED
from hpt.validate.run import run_job, validate

JOB = ValidationJob(
    kind="arm", name="plain", model="gpt2-nano", steps=2, batch_size=1, seq_len=8, device="cpu", threads=1
)
STEP = {"kind": "step", "step": 1}
END = {"kind": "end", "items": {}}


def _acts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *lines: str) -> None:
    """Every job's process runs a function with this body instead of its own."""
    tmp_path.mkdir(exist_ok=True)
    body = "".join(f"    {line}\n" for line in ("import os", *lines))
    (tmp_path / "stand_in.py").write_text(f"def act(arguments):\n{body}")
    monkeypatch.syspath_prepend(tmp_path)
    for kind in run.TARGETS:
        monkeypatch.setitem(run.TARGETS, kind, "stand_in:act")


def _ignore(job: ValidationJob, line: Any) -> None:
    """Nobody watches."""


def test_a_killed_process_has_failed_with_its_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SIGKILL in the middle: failed, with the steps it had sent kept, in the file too."""
    _acts(monkeypatch, tmp_path, f"yield {STEP}", "os.kill(os.getpid(), 9)")
    (result,) = run_job(JOB, tmp_path, _ignore)
    assert (result.status, result.exit_code) == (FAILED, -9)
    assert "signal 9" in result.message
    assert result.steps == [STEP]
    assert [json.loads(line) for line in (tmp_path / "arm-plain.jsonl").read_text().splitlines()] == [STEP]


def test_an_end_without_a_result_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The original's script passed when its training had refused to start; here that is a failure."""
    _acts(monkeypatch, tmp_path, f"yield {STEP}")
    (result,) = run_job(JOB, tmp_path, _ignore)
    assert (result.status, result.message) == (FAILED, "it ended without a result")


def test_a_result_and_an_error_have_failed_and_its_words_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Out of memory after the account was sent: exit code 7, one line, and the traceback in errors/."""
    _acts(monkeypatch, tmp_path, f"yield {END}", "raise MemoryError('no more')")
    (result,) = run_job(JOB, tmp_path, _ignore)
    assert (result.status, result.exit_code, result.message) == (FAILED, 7, "out of memory: no more")
    assert "Traceback" in (tmp_path / "errors" / "arm-plain.txt").read_text()


def test_words_of_a_library_on_stdout_do_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A word before the result: what is sent still reaches the watcher."""
    seen: list[Any] = []
    _acts(monkeypatch, tmp_path, "os.write(1, b'hello')", f"yield {STEP}", f"yield {END}")
    run_job(JOB, tmp_path, lambda job, line: seen.append(line["kind"]))
    assert seen == ["step", "end"]


def test_a_drill_that_is_missing_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of three drills one came back, one raised, and the process died in the third."""
    job = replace(JOB, kind="drill", name="record,degrade,emergency")
    good = {"kind": "result", "name": "record", "result": {"passed": True}}
    bad = {"kind": "result", "name": "degrade", "result": None, "message": "ValueError: x"}
    _acts(monkeypatch, tmp_path, f"yield {good}", f"yield {bad}", "os.kill(os.getpid(), 15)")
    results = {one.name: (one.status, one.message) for one in run_job(job, tmp_path, _ignore)}
    assert results["record"] == (DONE, "")
    assert results["degrade"] == (FAILED, "ValueError: x")
    assert results["emergency"][0] == FAILED
    assert "signal 15" in results["emergency"][1]


def test_a_finished_job_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After an interruption: the same job is taken over from its files, another one is run."""
    _acts(monkeypatch, tmp_path, f"yield {STEP}", f"yield {END}")
    first = run_job(JOB, tmp_path, _ignore)
    monkeypatch.setitem(run.TARGETS, "arm", "no_such_module:act")
    assert run_job(JOB, tmp_path, _ignore) == first
    (other,) = run_job(replace(JOB, seed=1), tmp_path, _ignore)
    assert other.status == FAILED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema_version": 1, "kind": "validate-vram", "status": "done"}', r"already holds a validation \(done\)"),
        ('{"schema_version": 1, "status": "done"}', "kind is missing"),
        ('{"schema_version": 9}', "schema_version is 9"),
        ("{", "is not JSON"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, text: str, said: str) -> None:
    """Finished, of another command, newer or damaged: refused before anything runs, and not written."""
    (tmp_path / "run.json").write_text(text)
    request = ValidationRequest(job=JOB, arms=("plain",), drills="none", estimate_seq_len=8)
    with pytest.raises(UsageError, match=said):
        validate(request, tmp_path, lambda *_: None, _ignore)
    assert (tmp_path / "run.json").read_text() == text


def test_malloc_is_told_to_give_memory_back_on_the_host_only() -> None:
    """Settings for glibc go to processes that measure the host, looser ones to drills, and nothing to estimates."""
    assert JOB.environment == {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1048576"}
    drill = replace(JOB, kind="drill").environment
    assert drill is not None
    assert drill["MALLOC_MMAP_THRESHOLD_"] == "8388608"
    assert replace(JOB, kind="estimate").environment is None
    assert replace(JOB, device="cuda:1").environment == {"OMP_NUM_THREADS": "1"}
