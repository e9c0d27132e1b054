"""What the project's own scripts stored is told apart, and damage to it is named."""

import json
from pathlib import Path

import pytest

from hpt.documents import DocumentError
from hpt_reports.kind import Kind
from hpt_reports.kinds import KINDS, kind_of

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("alarms.json", "alarms"),
        ("attached_hf.json", "attached"),
        ("estimates.json", "estimates"),
        ("overhead_byte_gpt.json", "overhead"),
        ("survival.json", "survival"),
    ],
)
def test_each_script_is_recognised_by_what_it_wrote(name: str, kind: str) -> None:
    """The committed files, each of one kind, on a machine that is named."""
    content = (EVIDENCE / name).read_bytes()
    found = kind_of(json.loads(content), EVIDENCE / name)
    assert found.name == kind
    assert found.provenance(found.read(EVIDENCE / name, content)).machine


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_that_lost_one_of_its_fields_is_still_of_its_kind(kind: Kind) -> None:
    """So that the page of that kind can say what is missing; with fewer than six in ten it is something else."""
    for gone in kind.fields:
        document = dict.fromkeys(kind.fields - {gone})
        assert kind_of(document, EVIDENCE) is kind
    with pytest.raises(DocumentError, match="no measurement of hpt"):
        kind_of(dict.fromkeys(sorted(kind.fields)[: len(kind.fields) // 2]), EVIDENCE)
