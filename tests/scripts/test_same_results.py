"""Two versions of the code, trained on the same runs: what differs is named, to the last bit, and nothing else."""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hpt.machine import source_digests

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
same_results: Any = import_module("same_results")
RUNS = ("--workloads", "mlp=300", "--arms", "nesterov,never", "--seeds", "1")
PARTS = ("hpt", "scenarios", "reports")
FACTOR = "factor = delta.gain * self._debias"


def copy_of_the_code(folder: Path) -> Path:
    """Without the evidence."""
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("evidence", "generated"))
    return folder


@pytest.mark.processes
def test_a_change_of_jumps_is_found_in_the_runs_that_jump(tmp_path: Path) -> None:
    """The code and a copy agree in every run; one that jumps further by a millionth differs in one arm alone."""
    here = same_results.train(ROOT, tmp_path / "here", RUNS, 2)
    assert {"mlp-baseline-n300-s101", "mlp-nesterov-n300-s101", "mlp-never-n300-s101"} <= set(here)
    copy, further = copy_of_the_code(tmp_path / "copy"), copy_of_the_code(tmp_path / "further")
    assert same_results.differing(here, same_results.train(copy, tmp_path / "same", RUNS, 2)) == []
    file = further / "hpt" / "jump" / "trajectory.py"
    text = file.read_text()
    assert FACTOR in text
    file.write_text(text.replace(FACTOR, f"{FACTOR} * 1.000001"))
    changed = same_results.train(further, tmp_path / "changed", RUNS, 2)
    assert same_results.differing(here, changed) == ["mlp-nesterov-n300-s101"]
    parts = {part for part, digest in same_results.sources_in(further).items() if digest != source_digests()[part]}
    assert parts == {"jump"}


def test_a_run_that_only_one_has_differs() -> None:
    """As does one whose last digit is another; seconds are no results."""
    one = {"a": {"final_loss": 0.1 + 0.2}, "b": {"final_loss": 1.0}}
    assert same_results.differing(one, {"a": {"final_loss": 0.3}}) == ["a", "b"]
    assert {"train_s", "cpu_s"} <= same_results.OF_THE_MACHINE
