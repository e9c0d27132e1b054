"""Memory validations of several processes beside those of one."""

import json
from pathlib import Path

from hpt_reports.evidence import gather
from hpt_reports.memory_runs import check_value, steps_of, validations


def in_two(folder: Path) -> None:
    """Make the stored validation one of two processes; its second ranks are copies of the first."""
    document = json.loads((folder / "run.json").read_text())
    document["settings"]["processes"] = 2
    (folder / "run.json").write_text(json.dumps(document))
    head, *rows = (folder / "steps.csv").read_text().splitlines()
    parts = [row.partition(",") for row in rows]
    ranked = [f'"{arm}, rank {rank}",{rest}' for rank in (0, 1) for arm, _, rest in parts]
    (folder / "steps.csv").write_text("\n".join([head, *ranked]))


def test_a_validation_of_two_processes_is_told_apart(runs: Path) -> None:
    """It has a title of its own, its figure is of the first process, and no target is held against it."""
    (before,) = validations(gather(runs))
    in_two(runs / "vram")
    evidence = gather(runs)
    (after,) = validations(evidence)
    assert (before.where, after.where) == ("cpu", "cpu, 2 processes")
    assert all("(gpt2-nano, cpu, 2 processes)" in one.what for one in after.verdicts())
    frame, expected = steps_of(after), steps_of(before)
    assert frame is not None
    assert expected is not None
    assert frame.equals(expected)
    assert check_value(evidence, "copies", "cpu", "gpt2-nano") is None
