"""Two measurements of one user do not run at once on a machine: the second says that it waits, and waits."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

MEASURE = """
import sys, time
from hpt.run.measuring import measuring
with measuring(lambda line: print(line, flush=True)):
    print("began", time.monotonic(), flush=True)
    sys.stdin.read()
    print("ended", time.monotonic(), flush=True)
"""


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock lies among the temporary files of these processes alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def begun() -> "subprocess.Popen[str]":
    """A process that measures until its standard input is closed."""
    command = [sys.executable, "-c", MEASURE]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_the_second_begins_when_the_first_has_ended() -> None:
    """And says in the meantime for whom it waits."""
    with begun() as first:
        assert line_of(first)[0] == "began"
        with begun() as second:
            assert line_of(second)[:4] == ["waiting", "for", "process", f"{first.pid},"]
            out, _ = first.communicate()
            assert out.split()[0] == "ended"
            began = line_of(second)
    assert began[0] == "began"
    assert float(began[1]) >= float(out.split()[1])


def test_a_killed_measurement_keeps_nobody_waiting() -> None:
    """The lock goes with the process."""
    with begun() as first:
        assert line_of(first)[0] == "began"
        first.kill()
    began_s = time.monotonic()
    with begun() as second:
        assert line_of(second)[0] == "began"
    assert time.monotonic() - began_s < 30.0


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    """Temporary files are a shared place: a planted link would have another file written."""
    import os

    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    (tmp_path / f"hpt-measuring-{os.getuid()}.lock").symlink_to(theirs)
    with begun() as process:
        process.communicate()
    assert process.returncode == 1
    assert theirs.read_text() == "theirs"
