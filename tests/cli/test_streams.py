"""Readers that go away stop nothing, stdout holds results alone, and the exit code stays the command's own."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from references.fresh_process import run_fresh

from hpt.cli.main import main

TESTS = Path(__file__).parents[1]
EVIDENCE = TESTS.parent / "reports" / "evidence" / "bench_default"
HPT = shlex.join([sys.executable, "-m", "hpt"])
TALKATIVE = """
import atexit, os, sys
from hpt.workloads.regression import Regression
print("imported")
atexit.register(print, "left")

class Talkative(Regression):
    def loss(self, model, batch):
        print("a word {1}")
        os.write(1, b"a word from below\\n")
        return super().loss(model, batch)

def make(*, seed, data, device):
    sys.__stdout__.write("made")
    return Talkative(seed=seed, device=device)
"""


def sh(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash, with the status of the first command of a pipe told on its own channel."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words = ["bash", "-c", command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"{HPT} bench list | head -n 1 >&2; exit ${{PIPESTATUS[0]}}", 0),
        (f"{HPT} bench list 2>&1 | true; exit ${{PIPESTATUS[0]}}", 0),
        (f"{HPT} nonsense 2>&1 | true; exit ${{PIPESTATUS[0]}}", 2),
        (f"{HPT} --help | true; exit ${{PIPESTATUS[0]}}", 0),
        (f"{HPT} bench list >&- 2>&-", 0),
        (f"{HPT} bench list >/dev/null 2>/dev/full", 0),
        (f"{HPT} bench compare {EVIDENCE} {EVIDENCE} --json | true; exit ${{PIPESTATUS[0]}}", 0),
    ],
)
def test_lost_output_changes_no_exit_code(tmp_path: Path, line: str, code: int) -> None:
    """A pipe closed early, at once or from the beginning; a log on a full disk. Nothing is said about it."""
    done = sh(line, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    """A full disk under stdout: exit code 6 and one line."""
    done = sh(f"{HPT} bench list >/dev/full", tmp_path)
    assert done.returncode == 6
    assert done.stderr == "hpt: standard output cannot be written (No space left on device); free some space\n"


def into(pipe: int, words: list[str]) -> int:
    """`hpt` in this process, stdout and stderr into a pipe."""
    for stream in (1, 2):
        os.dup2(pipe, stream)
    os.close(pipe)
    sys.argv = ["hpt", *words]
    main()
    raise AssertionError("it exits")


def into_head(words: list[str]) -> int:
    """`hpt ... 2>&1 | head -n 1`."""
    head = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE)
    assert head.stdin is not None
    return into(os.dup(head.stdin.fileno()), words)


def into_tee(words: list[str]) -> int:
    """`hpt ... 2>&1 | tee`, and Ctrl-C, of which tee dies at once, when the first steps are stored."""
    reading, writing = os.pipe()

    def press() -> None:
        steps = Path("o", "steps.jsonl")
        while not (steps.exists() and steps.stat().st_size):
            time.sleep(0.02)
        os.close(reading)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    return into(writing, words)


TRAIN = ["train", "--workload", "regression", "--threads", "1", "--out", "o", "--steps"]


def test_a_run_goes_on_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`2>&1 | head -n 1`: all steps are made and stored."""
    monkeypatch.chdir(tmp_path)
    done = run_fresh("cli.test_streams:into_head", [*TRAIN, "40"])
    assert done.returncode == 0
    assert json.loads((tmp_path / "o" / "run.json").read_text())["status"] == "done"
    assert done.stdout.count("\n") == 1


def test_what_user_code_prints_is_no_result(tmp_path: Path) -> None:
    """Prints at import, in the factory, in the loss, below Python and at exit: stdout is one JSON document."""
    (tmp_path / "talk.py").write_text(TALKATIVE)
    done = sh(f"{HPT} train --workload talk:make --steps 3 --threads 1 --json --out o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"
    for word in ("imported", "made", "a word {1}", "a word from below", "left"):
        assert word in done.stderr


def test_ctrl_c_under_tee_is_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C reaches the whole pipe, so tee is gone when the run says how to go on."""
    monkeypatch.chdir(tmp_path)
    assert run_fresh("cli.test_streams:into_tee", [*TRAIN, "1000000"]).returncode == 130
    assert json.loads((tmp_path / "o" / "run.json").read_text())["status"] == "interrupted"
