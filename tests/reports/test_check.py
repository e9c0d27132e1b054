"""What counts as a number without evidence."""

import os
import shutil
from pathlib import Path

import pytest

from hpt_reports.builder import build
from hpt_reports.check import findings, numbers_without_source
from hpt_reports.writing import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "It is 1.74x faster.",
        "| loss | 3.5 |",
        "- Saved 40 % of memory ([gone](gone.json)).",
        "Takes 12 ms, see [the report](page.md).",
        "| a | -0.5 | [see](http://example.org/run.json) |",
        "Down to 1e-3.",
    ],
)
def test_numbers_without_a_stored_source_are_found(folder: Path, line: str) -> None:
    """No link, a link to nothing, to a page, or to elsewhere."""
    (folder / "page.md").write_text("")
    assert list(numbers_without_source(f"# Title 1\n\n{line}\n", folder)) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "It is 1.74x faster ([run-1](run.json)).",
        "| loss | 3.5 | [run-1](run.json) |",
        "GPT-2 124M in fp32, `--steps 50`, gpt2-nano: not measured.",
        "[Phase 2: benchmarks](page.md)",
        "## 5 layers",
        "Nothing to count here.",
    ],
)
def test_linked_numbers_names_and_code_are_not(folder: Path, line: str) -> None:
    """Names with digits are no results."""
    assert list(numbers_without_source(line, folder)) == []


def test_commands_to_copy_are_not_results(folder: Path) -> None:
    """A fenced block is left out."""
    assert list(numbers_without_source("```sh\nhpt train --steps 600\n```\n", folder)) == []


NAMES = (
    *("a b", "a(b)", "a[b]", "<b>", "Läufe", "日本", "a#b", "100%", "%20", "a&b", "a?b", "a;b", "a'b", 'a"b', "a`b"),
    *("a|b", "a\\b", "a$b^2$", "a*b_c", "~a", "-a", "a\nb", os.fsdecode(b"\xff")),
)


@pytest.mark.parametrize("place", ["runs", "run", "out"])
def test_pages_know_their_own_links_whatever_folders_are_called(stored: Path, tmp_path: Path, place: str) -> None:
    """The folder of runs, a run's, or that of the reports: what was written is what the evidence gives."""
    for name in NAMES:
        runs, out = tmp_path / (name if place == "runs" else "runs"), tmp_path / (name if place == "out" else "out")
        run = runs / (name if place == "run" else "one")
        run.mkdir(parents=True)
        shutil.copy(stored / "overhead_byte_gpt.json", run)
        built = build(runs, out, "phase2")
        write(built, out, form=None)
        assert len(built.evidence.sources) == 1
        assert list(findings(built, out, only="phase2")) == [], name
        shutil.rmtree(runs)
        shutil.rmtree(out)


def test_pages_know_their_own_links_where_their_folder_is_a_link(stored: Path, tmp_path: Path) -> None:
    """To another depth, so that a way up leads elsewhere from the link than from the folder."""
    (tmp_path / "deep" / "er" / "reports").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "deep" / "er" / "reports")
    (tmp_path / "runs").mkdir()
    shutil.copy(stored / "overhead_byte_gpt.json", tmp_path / "runs")
    (tmp_path / "linked").symlink_to(tmp_path / "runs")
    for runs in (tmp_path / "runs", tmp_path / "linked"):
        built = build(runs, tmp_path / "out", "phase2")
        write(built, tmp_path / "out", form=None)
        assert list(findings(built, tmp_path / "out", only="phase2")) == []
