"""How a job's process ends is read from the process, never guessed."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from hpt.validate import processes
from hpt.validate.plan import Job
from hpt.validate.processes import environment_of, run_job
from hpt.validate.results import DONE, FAILED

JOB = Job(kind="arm", name="plain", model="gpt2-nano", steps=2, batch_size=1, seq_len=8, device="cpu", threads=1)
STEP = {"kind": "step", "step": 1}
END = {"kind": "end", "items": {}}
PYTHON = sys.executable


def _script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Every job's process runs this instead of the worker."""
    path = tmp_path / "worker.py"
    path.write_text(text)
    monkeypatch.setattr(processes.sys, "executable", str(_interpreter(tmp_path, path)))


def _interpreter(folder: Path, script: Path) -> Path:
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{script}"\n')
    path.chmod(0o755)
    return path


def _lines(*documents: dict[str, Any]) -> str:
    return "".join(f"print({json.dumps(document)!r}, flush=True)\n" for document in documents)


def test_a_killed_process_has_failed_with_its_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SIGKILL in the middle: failed, with the steps it had sent kept."""
    _script(monkeypatch, tmp_path, _lines(STEP) + "import os; os.kill(os.getpid(), 9)")
    (outcome,) = run_job(JOB, tmp_path, lambda job, line: None)
    assert (outcome.status, outcome.exit_code) == (FAILED, -signal.SIGKILL)
    assert outcome.message == "ended by signal 9"
    assert outcome.steps == [STEP]


def test_exit_0_without_a_result_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The original's script passed when its training had refused to start; here that is a failure."""
    _script(monkeypatch, tmp_path, "")
    (outcome,) = run_job(JOB, tmp_path, lambda job, line: None)
    assert outcome.status == FAILED
    assert outcome.message == "ended without a result"


def test_a_result_and_an_error_code_have_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last line of stderr is the message."""
    _script(monkeypatch, tmp_path, _lines(END) + "import sys; print('one\\ntwo', file=sys.stderr); sys.exit(7)")
    (outcome,) = run_job(JOB, tmp_path, lambda job, line: None)
    assert (outcome.status, outcome.exit_code, outcome.message) == (FAILED, 7, "two")


def test_words_of_a_library_on_stdout_do_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line that is no JSON before the result: the lines that are still reach the watcher."""
    seen: list[Any] = []
    _script(monkeypatch, tmp_path, "print('hello', flush=True)\n" + _lines(STEP, END))
    run_job(JOB, tmp_path, lambda job, line: seen.append(line["kind"]))
    assert seen == ["step", "end"]


def test_a_drill_that_is_missing_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of three drills one came back, one raised, and the process died in the third."""
    job = Job.from_document(JOB.to_document() | {"kind": "drill", "name": "record,degrade,emergency"})
    good = {"kind": "result", "name": "record", "result": {"passed": True}}
    bad = {"kind": "result", "name": "degrade", "result": None, "message": "ValueError: x"}
    _script(monkeypatch, tmp_path, _lines(good, bad) + "import os; os.kill(os.getpid(), 15)")
    outcomes = {one.name: (one.status, one.message) for one in run_job(job, tmp_path, lambda job, line: None)}
    assert outcomes == {
        "record": (DONE, ""),
        "degrade": (FAILED, "ValueError: x"),
        "emergency": (FAILED, "ended by signal 15"),
    }


def test_a_finished_job_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After an interruption: the same job is taken over from its files, another one is run."""
    _script(monkeypatch, tmp_path, _lines(STEP, END))
    first = run_job(JOB, tmp_path, lambda job, line: None)
    _script(monkeypatch, tmp_path, "raise SystemExit(1)")
    assert run_job(JOB, tmp_path, lambda job, line: None) == first
    (other,) = run_job(Job.from_document(JOB.to_document() | {"seed": 1}), tmp_path, lambda job, line: None)
    assert other.status == FAILED


def test_malloc_is_told_to_give_memory_back_on_the_host_only() -> None:
    """Settings for glibc go to processes that measure the host; the rest of the environment stays."""
    here = environment_of(JOB)
    there = environment_of(Job.from_document(JOB.to_document() | {"device": "cuda:1"}))
    assert here["MALLOC_MMAP_THRESHOLD_"] == "1048576"
    assert "MALLOC_MMAP_THRESHOLD_" not in set(there) - set(os.environ)
    assert here["OMP_NUM_THREADS"] == "1"
    assert here["PATH"] == os.environ["PATH"]
