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
    began = time.monotonic()
    print("began", began, flush=True)
    time.sleep(float(sys.argv[1]))
    print("ended", time.monotonic(), flush=True)
"""


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock lies among the temporary files of these processes alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def begun(seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MEASURE, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line_of(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_the_second_begins_when_the_first_has_ended() -> None:
    """And says in the meantime for whom it waits."""
    with begun(1.0) as first, begun(0.0) as second:
        lines = {first: line_of(first), second: line_of(second)}
        early, late = sorted(lines, key=lambda one: lines[one][0] != "began")
        assert lines[early][0] == "began"
        assert lines[late][:4] == ["waiting", "for", "process", f"{early.pid},"]
        ended, began = line_of(early), line_of(late)
        assert (ended[0], began[0]) == ("ended", "began")
        assert float(began[1]) >= float(ended[1])


def test_a_killed_measurement_keeps_nobody_waiting() -> None:
    """The lock goes with the process."""
    with begun(60.0) as first:
        assert line_of(first)[0] == "began"
        first.kill()
    began_s = time.monotonic()
    with begun(0.0) as second:
        assert line_of(second)[0] == "began"
    assert time.monotonic() - began_s < 30.0


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    """Temporary files are a shared place: a planted link would have another file written."""
    import os

    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    (tmp_path / f"hpt-measuring-{os.getuid()}.lock").symlink_to(theirs)
    with begun(0.0) as process:
        process.communicate()
    assert process.returncode == 1
    assert theirs.read_text() == "theirs"
