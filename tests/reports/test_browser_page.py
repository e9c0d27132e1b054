"""The page for a browser: its first screen answers five questions, and details fold."""

import re
from html import unescape
from pathlib import Path

import pytest

from hpt_reports.builder import build, html_page
from hpt_reports.page import Page
from hpt_reports.tiles import TILES, tiles_of


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, stored: Path) -> str:
    out = tmp_path_factory.mktemp("browser") / "reports"
    return build(stored, out).files["report.html"].decode()


def test_the_first_screen_asks_five_questions(page: str) -> None:
    """Before any report, each leading to the report that answers it."""
    first = page.split("<section", maxsplit=1)[0]
    assert re.findall(r'<h2><a href="#(\w+)">', first) == [name for _, name, _ in TILES]
    assert [unescape(one) for one in re.findall(r'<h2><a href="#\w+">([^<]+)<', first)] == [one for one, _, _ in TILES]


def test_an_answer_is_a_line_of_that_reports_summary() -> None:
    """As it stands there; of a report that is not there nothing is asked."""
    lines = [f"line {place}" for place in range(5)]
    page = Page("PHASE_1_VALIDATION_REPORT", "", "", lines, [], (), [], [])
    assert tiles_of({page.name: page}) == [{"question": "How much memory?", "text": "line 1", "name": page.name}]


def test_tables_of_machines_fold(page: str) -> None:
    """One in each of the six reports and in the index; closed."""
    found = re.findall(r"<details><summary>Machines, commits and days</summary>(.*?)</details>", page, re.DOTALL)
    assert len(found) == 7
    assert all("<table>" in one for one in found)


def test_other_html_in_markdown_stays_text() -> None:
    """A script in a summary is shown, not run."""
    text = "# Reports\n\n<script>alert(1)</script>\n\n<details><summary>more</summary>\n\nhidden\n\n</details>\n"
    made = html_page([], {"index.md": text.encode()})
    assert "<script>alert" not in made
    assert "<details><summary>more</summary>" in made
