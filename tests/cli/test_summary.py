"""The table at the end shows what run.json holds, and says so when something was not measured."""

from dataclasses import replace

from rich.console import Console

from hpt.cli.summary import show_summary
from hpt.store import DONE, FAILED, INTERRUPTED, RunRecord

RECORD = RunRecord(
    status=DONE,
    command=["hpt", "train"],
    settings={"steps": 600},
    config={"predictor": "ridge"},
    workload={"name": "byte-gpt", "chance_loss": 3.15},
    seed=7,
    environment={},
    started_at="2026-01-01T00:00:00+00:00",
    num_updates=600,
    phases={"WARMUP": 30, "FULL": 540, "PREDICT": 9, "CORRECT": 30},
    counters={"jumps_accepted": 8, "optimizer_updates": 601},
    seconds={"part": {"forward": 12.5}},
    wall_s=125.4,
    final_loss=2.25,
    confidence={"brier": 0.1875, "reliability": [], "skill": "no skill"},
)


def shown(record: RunRecord) -> list[list[str]]:
    """Words of each line, without the frames."""
    console = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        show_summary(record, "runs/a", console)
    return [[word for word in line.split() if word not in "│┃"] for line in capture.get().splitlines()]


def test_the_numbers_of_the_record_are_in_the_table() -> None:
    """Loss beside chance, phases, counters, time and calibration."""
    lines = shown(RECORD)
    for row in (
        ["updates", "600", "of", "600"],
        ["validation", "loss", "2.25"],
        ["chance", "level", "3.15"],
        ["confidence", "brier", "0.1875"],
        ["confidence", "skill", "no", "skill"],
        ["wall", "time", "2", "min", "5", "s"],
        ["Files:", "runs/a"],
    ):
        assert row in lines
    text = " ".join(word for line in lines for word in line)
    for cell in ("byte-gpt, ridge, seed 7", "WARMUP 30", "jumps accepted 8", "forward 12.5"):
        assert cell in text


def test_what_was_not_measured_is_not_a_number() -> None:
    """An interrupted run has no validation loss, a failed one says why."""
    interrupted = replace(RECORD, status=INTERRUPTED, final_loss=None, confidence=None, counters=None)
    assert ["validation", "loss", "not", "measured"] in shown(interrupted)
    failed = replace(RECORD, status=FAILED, final_loss=None, message="it broke")
    assert ["status", "failed:", "it", "broke"] in shown(failed)
