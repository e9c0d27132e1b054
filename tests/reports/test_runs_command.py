"""`hpt runs` lists what the reports would use, with verdicts, and names a command for each that works."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from references.command_lines import assert_parses

from hpt.cli.main import run
from hpt_reports.kinds import KINDS
from hpt_reports.listing import REPORTS, VERDICTS


def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """Rows by path below the folder."""
    assert run(["runs", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return {str(Path(one["path"]).relative_to(folder)): one for one in document["runs"]}


def test_every_kind_has_a_report_and_a_verdict() -> None:
    """A new kind of measurement needs both."""
    assert set(REPORTS) == set(VERDICTS) == set(KINDS)


def test_every_stored_run_is_a_row_with_its_verdict(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders of their own, and single files; sizes are those of the disk."""
    rows = listed(stored, capsys)
    assert rows["vram"]["verdict"] == "passed"
    assert rows["bench-default"]["verdict"] == "16 scenarios"
    assert rows["compare"]["verdict"].startswith("hybrid: ")
    assert rows["train"]["kind"] == "training run"
    assert "overhead_byte_gpt.json" in rows
    files = [path for path in (stored / "vram").rglob("*") if path.is_file()]
    assert rows["vram"]["size_bytes"] == sum(len(path.read_bytes()) for path in files)
    days = [one["day"] for one in rows.values() if one["day"] is not None]
    assert days == sorted(days, reverse=True)


def test_a_file_among_other_runs_stands_for_itself_alone(
    runs: Path, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile beside folders of runs is told by its own name and size, and by its folder where it has one."""
    profile = (stored / "profile.json").read_bytes()
    (runs / "profile.json").write_bytes(profile)
    (runs / "apart").mkdir()
    (runs / "apart" / "profile.json").write_bytes(profile + b"\n")
    (runs / "apart" / "notes.txt").write_text("x")
    rows = listed(runs, capsys)
    assert rows["profile.json"]["size_bytes"] == len(profile)
    assert rows["apart"]["size_bytes"] == len(profile) + 2
    shutil.copytree(runs / "vram", runs / "train" / "vram")
    document = json.loads((runs / "train" / "run.json").read_text())
    (runs / "train" / "run.json").write_text(json.dumps(document | {"status": "interrupted"}))
    assert listed(runs, capsys)["train/run.json"]["command"] == f"hpt train --resume {runs / 'train'}"


def test_every_command_is_one_that_click_reads(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And each is on the screen, once."""
    commands = {one["command"] for one in listed(stored, capsys).values()}
    for command in commands:
        assert_parses(shlex.split(command)[1:])
    assert run(["runs", str(stored)]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert all(lines.count(command) == 1 for command in commands)


def test_a_named_command_writes_the_report(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That of the memory validation, carried out."""
    command = listed(runs, capsys)["vram"]["command"]
    words = shlex.split(command)[1:]
    out = runs.parent / "pages"
    assert run([*words[:-1], str(out)]) == 0
    assert "gpt2-nano" in (out / "VRAM_MANAGEMENT_SUMMARY.md").read_text()


def test_what_is_unfinished_or_damaged_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted run goes on by its command, as does a comparison without a summary; a damaged file names why."""
    record = json.loads((runs / "train" / "run.json").read_text())
    (runs / "train" / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    (runs / "begun").mkdir()
    (runs / "begun" / "comparison.json").write_text("{}")
    (runs / "vram" / "run.json").write_text((runs / "vram" / "run.json").read_text()[:-20])
    shutil.rmtree(runs / "compare")
    rows = listed(runs, capsys)
    assert rows["train"]["verdict"] == "not finished (interrupted)"
    assert rows["train"]["command"] == shlex.join(["hpt", "train", "--resume", str(runs / "train")])
    assert rows["begun"]["command"] == shlex.join(["hpt", "compare", "--resume", "--out", str(runs / "begun")])
    assert rows["vram/run.json"]["verdict"].startswith("cannot be read: it is not JSON")
    assert rows["vram/run.json"]["command"] is None


def test_without_runs_the_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing measured is 5, no folder is a wrong call."""
    monkeypatch.chdir(tmp_path)
    assert run(["runs"]) == 2
    assert "there is no folder runs" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    assert run(["runs"]) == 5
