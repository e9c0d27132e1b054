"""Console sessions made anew from stored runs."""

import json
import shutil
from pathlib import Path

from hpt_reports.endings import endings
from hpt_reports.evidence import gather
from hpt_reports.page import Links

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"
LINKS = Links("runs/")


def test_each_ends_as_the_command_does_with_a_link_to_its_run(tmp_path: Path) -> None:
    """The loss is the stored one; the folder is that of the command."""
    shutil.copytree(EVIDENCE / "train_byte_gpt", tmp_path / "first")
    stored = json.loads((tmp_path / "first" / "run.json").read_text())
    text = "\n".join(endings(gather(tmp_path), LINKS))
    assert f"$ {' '.join(stored['command'])}\nResult: byte-gpt, 600 of 600" in text
    assert f"validation loss {stored['final_loss']:.4f}" in text
    assert f"(runs/first/run.json), hpt {stored['environment']['hpt']}." in text
    assert text.count("```console") == 1


def test_nothing_is_said_of_runs_that_did_not_end(tmp_path: Path) -> None:
    """An interrupted run is no example."""
    stored = json.loads((EVIDENCE / "train_byte_gpt" / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(stored | {"status": "interrupted"}))
    assert endings(gather(tmp_path), LINKS) == []


def test_of_several_comparisons_the_widest_is_shown(tmp_path: Path) -> None:
    """That on five workloads rather than that on one, whose path comes first."""
    for name in ("comparison_calibration", "comparison_default"):
        shutil.copytree(EVIDENCE / name, tmp_path / name)
    text = "\n".join(endings(gather(tmp_path), LINKS))
    assert "hybrid on byte-gpt-b16, byte-gpt, cnn, mlp, regression" in text
