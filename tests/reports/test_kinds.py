"""What the project's own scripts stored is told apart, and damage to it is named."""

import json
from pathlib import Path

import pytest

from reports.kinds import WALL, NotEvidence, kind_of

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("prediction_byte_gpt.json", "prediction"),
        ("overhead_byte_gpt.json", "overhead"),
        ("overhead_byte_gpt_2_threads.json", "overhead"),
        ("wall_byte_gpt.json", "wall"),
    ],
)
def test_each_script_is_recognised_by_what_it_wrote(name: str, kind: str) -> None:
    """The committed files, each of one kind, on a machine that is named."""
    document = json.loads((EVIDENCE / name).read_text(encoding="utf-8"))
    found = kind_of(document)
    assert found.name == kind
    assert found.provenance(found.complete(EVIDENCE / name, document)).machine


def test_pairs_that_lack_a_run_are_refused() -> None:
    """A ratio without both of its runs is no evidence."""
    document = json.loads((EVIDENCE / "wall_byte_gpt.json").read_text(encoding="utf-8"))
    del document["pairs"][0]["none"]
    with pytest.raises(NotEvidence, match="pairs"):
        WALL.complete(EVIDENCE / "wall_byte_gpt.json", document)
