"""What policies are worth, and how forks tell it: the tables show what is stored, and say what is not."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from references.markdown_tables import cells_of

from hpt_reports.evidence import gather
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation

STORED = Path(__file__).parent / "data" / "policies.json"


def page_of(folder: Path, document: dict[str, Any]) -> Page:
    (folder / "policies.json").write_text(json.dumps(document))
    return evaluation.build(gather(folder), Links("runs/"))


def test_nothing_stored_is_not_measured(tmp_path: Path) -> None:
    """The page says so, and names the script."""
    page = evaluation.build(gather(tmp_path), Links("runs/"))
    assert page.values["policies"] is None
    assert any("study_forks.py" in one.command for one in page.missing)


def test_a_ratio_is_that_of_the_mean_logarithm_over_seeds(tmp_path: Path) -> None:
    """Seeds of log 1.1 and log 1.21 make 1.15, their geometric mean."""
    document = json.loads(STORED.read_text())
    first = document["worth"][0]
    place = document["policies"].index("full")
    rows = [[0.0] * len(document["policies"]) for _ in range(2)]
    rows[0][place], rows[1][place] = math.log(1.1), math.log(1.21)
    first["worth_by_seed"] = {"0": rows[0], "1": rows[1]}
    table = page_of(tmp_path, document).values["policies"]["worth"].splitlines()
    shown = dict(zip(cells_of(table[0]), cells_of(table[2]), strict=True))
    assert (shown["full"], shown["half"], shown["seeds"]) == ("1.15x", "1.00x", "2")


def test_jumps_that_end_early_have_a_table_of_their_own(tmp_path: Path) -> None:
    """Two seeds of log 1.1 and log 1.21 for `full`; settings without such runs are left out."""
    document = json.loads(STORED.read_text())
    assert page_of(tmp_path, document).values["policies"]["early"] == ""
    place = document["policies"].index("full")
    rows = [[0.0] * len(document["policies"]) for _ in range(2)]
    rows[0][place], rows[1][place] = math.log(1.1), math.log(1.21)
    document["worth"][0]["early_by_seed"] = {"6": rows[0], "7": rows[1]}
    table = page_of(tmp_path, document).values["policies"]["early"].splitlines()
    assert len(table) == 3
    shown = dict(zip(cells_of(table[0]), cells_of(table[2]), strict=True))
    assert (shown["full"], shown["half"], shown["seeds"]) == ("1.15x", "1.00x", "2")


def test_agreement_is_told_before_and_after_the_correction(tmp_path: Path) -> None:
    """With the correlation beside it."""
    document = json.loads(STORED.read_text())
    first = document["candidates"][0]
    first |= {"pairs": 11, "num_jumps": 3}
    first["right"]["half"], first["right_corrected"]["half"], first["correlation"]["half"] = 7, 10, 0.931
    table = page_of(tmp_path, document).values["policies"]["forks"].splitlines()
    shown = dict(zip(cells_of(table[0]), cells_of(table[2]), strict=True))
    assert shown["half"] == "7, 10 of 11, correlation 0.93"


@pytest.mark.parametrize("field", ["worth_by_seed", "right", "right_corrected", "correlation"])
def test_a_policy_that_is_missing_is_named(tmp_path: Path, field: str) -> None:
    """A row of other policies than the document's is refused with its field."""
    document = json.loads(STORED.read_text())
    if field == "worth_by_seed":
        document["worth"][0][field] = {"0": [0.1]}
    else:
        del document["candidates"][0][field]["half"]
    (tmp_path / "policies.json").write_text(json.dumps(document))
    (remark,) = [one for one in gather(tmp_path).remarks if one.word != "partial"]
    assert field in remark.reason


def test_arms_of_a_seed_without_policies_are_refused(tmp_path: Path) -> None:
    """What the default was worth on a seed tells nothing without the policies on it."""
    document = json.loads(STORED.read_text())
    document["worth"][0]["arms_by_seed"] = {"7": {"default": 0.1}}
    (tmp_path / "policies.json").write_text(json.dumps(document))
    (remark,) = [one for one in gather(tmp_path).remarks if one.word != "partial"]
    assert "arms_by_seed of byte-gpt has seed 7" in remark.reason


def test_what_the_default_saves_elsewhere_is_a_mean_and_its_range(tmp_path: Path) -> None:
    """Losses of 0.01, -0.002 and 0.004 saved: 0.004, between the least and the most; nothing stored shows nothing."""
    document = json.loads(STORED.read_text())
    assert page_of(tmp_path, document).values["policies"]["unseen"] == ""
    saved = {"0": 0.01, "1": -0.002, "2": 0.004}
    row = {"workload": "mlp_norm", "optimizer": "soap", "steps": 1500, "rates": [0.5, 1.0], "saved_by_seed": saved}
    table = page_of(tmp_path, document | {"unseen": [row]}).values["policies"]["unseen"].splitlines()
    shown = dict(zip(cells_of(table[0]), cells_of(table[2]), strict=True))
    assert shown["loss saved"] == "+0.0040 [-0.0020, +0.0100]"
    assert (shown["rates"], shown["seeds"]) == ("x 0.500, x 1.00", "3")
