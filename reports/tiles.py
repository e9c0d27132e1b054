"""The first screen of the page for a browser: five questions, each with the line of a report that answers it."""

from collections.abc import Mapping

from hpt_reports.page import Page

TILES = (
    ("Does it pay?", "EVALUATION_REPORT", 0),
    ("On what?", "EVALUATION_REPORT", 1),
    ("What does a step cost?", "PHASE_2_BENCHMARKING_REPORT", 3),
    ("How much memory?", "PHASE_1_VALIDATION_REPORT", 1),
    ("Ready to release?", "PHASE_3_RELEASE_PREP_REPORT", 0),
)
"""Question, report, and which line of its summary."""


def tiles_of(pages: Mapping[str, Page]) -> list[dict[str, str]]:
    """Question, Markdown of the answer, and the report's name, of the reports that are there."""
    return [
        {"question": question, "text": pages[name].summary[place], "name": name}
        for question, name, place in TILES
        if name in pages
    ]
