"""The exports hold what steps.jsonl holds, also after a resume."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from references.records import jump_at

from hpt.errors import PrerequisiteError
from hpt.jsonfiles import read_lines
from hpt.records import ForkRecord, Phase, StepRecord
from hpt.run.exports import open_exports
from hpt.run.folder import RunFolder, RunLog


def step_of(call: int, loss: float) -> StepRecord:
    return StepRecord(call, call, Phase.FULL, loss, False, None, 0.5, None, 0.1, 1, 0.01)


def write_run(folder: RunFolder, exports: tuple[str, ...], first: int, last: int, loss: float) -> None:
    with RunLog(folder, first - 1) as log, open_exports(exports, folder, log.call) as sinks:
        for call in range(first, last + 1):
            for sink in (log, *sinks):
                sink(step_of(call, loss + call))
            log.end_call()


def test_csv_equals_the_log_after_a_resume(tmp_path: Path) -> None:
    """Rows of the calls that a resume redoes are replaced, none is missing, and None is an empty cell."""
    folder = RunFolder(tmp_path)
    write_run(folder, ("csv",), 1, 5, 1.0)
    write_run(folder, ("csv",), 4, 6, 2.0)
    table = pd.read_csv(tmp_path / "steps.csv")
    lines = list(read_lines(folder.steps_file))
    assert list(table["loss"]) == [line["loss"] for line in lines] == [2.0, 3.0, 4.0, 6.0, 7.0, 8.0]
    assert list(table["call"]) == [1, 2, 3, 4, 5, 6]
    assert bool(table["grad_norm"].isna().to_numpy().all())
    assert set(table.columns) == set(lines[0]) - {"kind"}


READ_BACK = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    """TensorBoard's own reader sees each call once after a resume, and the jumps and forks."""
    pytest.importorskip("tensorboard")
    folder = RunFolder(tmp_path)
    write_run(folder, ("tensorboard",), 1, 4, 1.0)
    write_run(folder, ("tensorboard",), 3, 4, 5.0)
    with open_exports(("tensorboard",), folder, 4) as (sink,):
        sink(jump_at(4, 5))
        sink(ForkRecord(4, 100, 3, "half", 0.5, 0.01, goes_on=True))
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(tmp_path / "tensorboard")],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["loss"] == [[1, 2.0], [2, 3.0], [3, 8.0], [4, 9.0]]
    assert seen["jump/accepted/norm_ratio"] == [[4, 0.25]]
    assert seen["fork/half/value"] == [[4, 0.5]]
    assert "grad_norm" not in seen


def test_a_missing_tensorboard_is_a_prerequisite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: without it the message says how to get it."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(PrerequisiteError, match=r"hybrid-predict-trainer\[tensorboard\]"),
        open_exports(("tensorboard",), RunFolder(tmp_path), 0),
    ):
        pass
