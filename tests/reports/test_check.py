"""What counts as a number without evidence."""

from pathlib import Path

import pytest

from reports.check import numbers_without_source


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
