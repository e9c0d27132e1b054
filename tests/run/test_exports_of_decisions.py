"""Forks and decisions in the exports: the same as in events.jsonl, also after a resume."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpt.jump.policy import POLICIES
from hpt.records import DecisionRecord, ForkRecord, Phase, StepRecord
from hpt.run.exports import open_exports
from hpt.run.folder import RunFolder, RunLog


def step_of(call: int) -> StepRecord:
    return StepRecord(call, call, Phase.FULL, 2.0, False, None, 0.5, None, 0.1, 1, 0.01)


def decision_at(step: int, policy: str, worth: float) -> DecisionRecord:
    means = {name: worth * place for place, name in enumerate(POLICIES, start=1)}
    return DecisionRecord(step, None, policy, means, dict.fromkeys(POLICIES, 0.5), f"{policy}: planted")


def write_run(folder: RunFolder, export: str, first: int, last: int, worth: float) -> None:
    """A fork and a decision in every call."""
    with RunLog(folder, first - 1) as log, open_exports((export,), folder, log.call) as sinks:
        for call in range(first, last + 1):
            records = (
                ForkRecord(call, 90, 3, "full", worth + call, 0.01, goes_on=True),
                decision_at(call, "full", worth + call),
                step_of(call),
            )
            for sink in (log, *sinks):
                for record in records:
                    sink(record)
            log.end_call()


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_tables_of_a_resumed_run_are_rebuilt_from_its_log(tmp_path: Path) -> None:
    """What the resume redoes is there once, with its new value; what is not known is empty."""
    folder = RunFolder(tmp_path)
    write_run(folder, "csv", 1, 4, 0.0)
    write_run(folder, "csv", 3, 5, 10.0)
    forks, decisions = rows_of(tmp_path / "forks.csv"), rows_of(tmp_path / "decisions.csv")
    assert [float(row["value"]) for row in forks] == [1.0, 2.0, 13.0, 14.0, 15.0]
    assert [float(row["means_quarter-kept"]) for row in decisions] == [2.0, 4.0, 26.0, 28.0, 30.0]
    assert {row["sds_full"] for row in decisions} == {"0.5"}
    assert {row["progress"] for row in decisions} == {""}
    assert len(rows_of(tmp_path / "steps.csv")) == 5


READ_BACK = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
tags = events.Tags()
texts = [one.tensor_proto.string_val[0].decode() for one in events.Tensors("decision/text_summary")]
print(json.dumps([{tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}, texts]))
"""


def test_tensorboard_reads_back_worth_by_policy_and_the_reason(tmp_path: Path) -> None:
    """The value of a fork under its policy, mean and standard deviation of every policy, the sentence as text."""
    pytest.importorskip("tensorboard")
    write_run(RunFolder(tmp_path), "tensorboard", 1, 2, 0.0)
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(tmp_path / "tensorboard")], capture_output=True, text=True, check=True
    )
    scalars, texts = json.loads(done.stdout.splitlines()[-1])
    assert [value for _, value in scalars["fork/full/value"]] == [1.0, 2.0]
    for place, name in enumerate(POLICIES, start=1):
        assert [value for _, value in scalars[f"worth/{name}/mean"]] == [place, 2.0 * place]
        assert [value for _, value in scalars[f"worth/{name}/sd"]] == [0.5, 0.5]
    assert texts == ["full: planted"] * 2
