"""What the project's own scripts stored is told apart, and damage to it is named."""

import json
from pathlib import Path

import pytest

from hpt.documents import DocumentError
from hpt_reports.kinds import KINDS, WALL, Kind, kind_of

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
    content = (EVIDENCE / name).read_bytes()
    found = kind_of(json.loads(content), EVIDENCE / name)
    assert found.name == kind
    assert found.provenance(found.read(EVIDENCE / name, content)).machine


def test_pairs_that_lack_a_run_are_refused() -> None:
    """A ratio without both of its runs is no evidence."""
    document = json.loads((EVIDENCE / "wall_byte_gpt.json").read_text(encoding="utf-8"))
    del document["pairs"][0]["none"]
    with pytest.raises(DocumentError, match=r"pairs\[0\]\.none is missing"):
        WALL.read(EVIDENCE / "wall_byte_gpt.json", json.dumps(document).encode())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_that_lost_one_of_its_fields_is_still_of_its_kind(kind: Kind) -> None:
    """So that the page of that kind can say what is missing; with fewer than six in ten it is something else."""
    for gone in kind.fields:
        document = dict.fromkeys(kind.fields - {gone})
        assert kind_of(document, EVIDENCE) is kind
    with pytest.raises(DocumentError, match="no measurement of hpt"):
        kind_of(dict.fromkeys(sorted(kind.fields)[: len(kind.fields) // 2]), EVIDENCE)
