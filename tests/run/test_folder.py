"""A run's folder survives kills, torn lines, full disks and second writers."""

import json
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from references.records import jump_at

from hpt.errors import CheckpointError, DiskError, UsageError
from hpt.jsonfiles import cut_lines, make_folder, owner, read_lines, write_json
from hpt.records import EventRecord, Phase, StepRecord
from hpt.run.folder import RunFolder, RunLog, locked
from hpt.run.record import DONE, RunRecord

ROW: SearchStrategy[dict[str, object]] = st.dictionaries(
    st.text(max_size=4), st.floats(allow_nan=False) | st.text(max_size=8), max_size=3
)


def step_of(call: int) -> StepRecord:
    return StepRecord(
        step=call,
        call=call,
        phase=Phase.FULL,
        loss=1.0 / call,
        was_predicted=False,
        predicted_loss=None,
        confidence=None,
        grad_norm=0.5,
        lr=0.1,
        num_backward=1,
        wall_s=0.01,
    )


def record_of(status: str = DONE) -> RunRecord:
    return RunRecord(
        status=status,
        command=["hpt", "train"],
        settings={"steps": 3},
        config={"predictor": "none"},
        workload={"name": "regression", "chance_loss": 2.0},
        seed=0,
        environment={"python": "3.11"},
        started_at="2026-01-01T00:00:00+00:00",
    )


def write_calls(log: RunLog, first: int, last: int) -> None:
    """As a trainer does: what happens inside a call is recorded before the call's own line, or after it."""
    for call in range(first, last + 1):
        if call % 3 == 0:
            log(jump_at(call, call))
        log(step_of(call))
        if call % 4 == 0:
            log(EventRecord(step=call, call=call, name="rollback", message="planted"))
        log.end_call()


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """The operating system refuses to let any file of this process grow beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(
    rows=st.lists(ROW, max_size=6),
    keep=st.integers(0, 8),
    torn=st.sampled_from([b"", b'{"a": ', b'{"a": 1}', b"\x00"]),
)
def test_cut_lines_keeps_exactly_the_accepted_whole_head(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], keep: int, torn: bytes
) -> None:
    """Whatever follows the wanted lines, torn bytes included, goes; the wanted bytes stay as they were."""
    path = tmp_path_factory.mktemp("log") / "lines.jsonl"
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    path.write_bytes(b"".join(lines) + torn)
    assert cut_lines(path, lambda index, _: index < keep) == min(keep, len(rows))
    assert path.read_bytes() == b"".join(lines[:keep])


def test_read_lines_leaves_a_torn_last_line_out(tmp_path: Path) -> None:
    """A reader of a killed run's log sees the whole lines only."""
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"call": 1}\n{"call": 2}\n{"call": 3')
    assert list(read_lines(path)) == [{"call": 1}, {"call": 2}]
    assert list(read_lines(tmp_path / "absent.jsonl")) == []


@given(total=st.integers(1, 14), checkpoint=st.integers(0, 14), killed=st.integers(0, 14), torn=st.booleans())
def test_a_killed_and_resumed_log_equals_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, total: int, checkpoint: int, killed: int, torn: bool
) -> None:
    """Cutting back to the checkpoint's call loses no line and repeats none, in both files, byte for byte."""
    killed = min(killed, total)
    checkpoint = min(checkpoint, killed)
    whole, resumed = (RunFolder(tmp_path_factory.mktemp("run")) for _ in range(2))
    with RunLog(whole) as log:
        write_calls(log, 1, total)
    with RunLog(resumed) as log:
        write_calls(log, 1, killed)
        if torn:
            log(jump_at(killed + 1, killed + 1))
    if torn:
        with resumed.steps_file.open("a") as file:
            file.write('{"kind": "step", "step"')
    with RunLog(resumed, checkpoint) as log:
        write_calls(log, checkpoint + 1, total)
    for name in ("steps_file", "events_file"):
        assert getattr(resumed, name).read_bytes() == getattr(whole, name).read_bytes()


def test_a_log_shorter_than_its_checkpoint_is_refused(tmp_path: Path) -> None:
    """Missing lines cannot be made up: the message names both counts."""
    folder = RunFolder(tmp_path)
    with RunLog(folder) as log:
        write_calls(log, 1, 3)
    with pytest.raises(CheckpointError, match=r"3 whole lines.*after call 5"):
        RunLog(folder, 5)


def test_a_full_disk_is_a_disk_error_and_keeps_the_whole_lines(tmp_path: Path) -> None:
    """The operating system refuses to write on; what was written before can be resumed from."""
    folder = RunFolder(tmp_path)
    log = RunLog(folder)
    write_calls(log, 1, 2)
    size = folder.steps_file.stat().st_size
    with largest_file(size + 10), pytest.raises(DiskError, match="free some space") as caught:
        write_calls(log, 5, 5)
    assert caught.value.exit_code == 6
    with largest_file(size + 10), pytest.raises(DiskError):
        log.close()
    with RunLog(folder, 2):
        assert [line["call"] for line in read_lines(folder.steps_file)] == [1, 2]


def test_a_failed_write_leaves_the_old_document_and_no_litter(tmp_path: Path) -> None:
    """Replacing is all or nothing, whether the disk or the document is at fault."""
    path = tmp_path / "run.json"
    write_json(path, {"status": "running"})
    with largest_file(100), pytest.raises(DiskError):
        write_json(path, {"status": "done", "text": "x" * 10_000})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text()) == {"status": "running"}
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_elses_partial_file_is_removed(tmp_path: Path) -> None:
    """Another host's, another process's, an earlier one of this process, when a write fails and when one does not.

    On a shared file system the number of a process says nothing about one on another machine.
    """
    theirs = [f".run.json.{whose}.abc.tmp" for whose in (f"elsewhere.{os.getpid()}", "elsewhere.1", owner())]
    for name in theirs:
        (tmp_path / name).write_text("{")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(DiskError, match=r"taken\.json"):
        write_json(tmp_path / "taken.json", {})
    write_json(tmp_path / "run.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {*theirs, "taken.json", "run.json"}


def test_a_partial_file_says_whose_it_is() -> None:
    """Host and process, in letters that any file system takes."""
    assert re.fullmatch(rf"[A-Za-z0-9-]{{1,32}}\.{os.getpid()}", owner())


def test_a_run_record_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    """What `hpt report` reads is what `hpt train` wrote."""
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.path.mkdir(parents=True)
    folder.refuse_taken()
    folder.write(record_of())
    with pytest.raises(UsageError, match=r"already holds a run \(done\)"):
        folder.refuse_taken()
    assert folder.read() == record_of()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "it must be an object"),
        ('{"schema_version": 99}', "schema_version is 99, this hpt reads up to 1"),
        ('{"schema_version": 1, "status": "done"}', "command is missing"),
    ],
)
def test_an_unusable_run_json_is_refused_with_its_reason(tmp_path: Path, text: str, message: str) -> None:
    """A damaged, newer or incomplete record is named, never half read."""
    folder = RunFolder(tmp_path)
    folder.run_file.write_text(text)
    with pytest.raises(UsageError, match=message):
        folder.read()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Resuming from nowhere names the folder."""
    with pytest.raises(UsageError, match=r"run\.json: it is not there; .* name the folder of a run"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize("place", ["taken", "taken/inner"])
def test_a_file_in_the_way_is_refused(tmp_path: Path, place: str) -> None:
    """`--out` must be a folder, and so must everything above it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        make_folder(tmp_path / place)


def test_a_locked_folder_is_for_one_at_a_time(tmp_path: Path) -> None:
    """The second is refused while the first is inside, and let in afterwards; the folder is made."""
    with (
        locked(tmp_path / "new", "run", "run.json"),
        pytest.raises(UsageError, match="in use by another process"),
        locked(tmp_path / "new", "run", "run.json"),
    ):
        pass
    with locked(tmp_path / "new", "run", "run.json"):
        pass
