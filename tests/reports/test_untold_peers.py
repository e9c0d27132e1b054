"""No page tells a gain over AdamW without the best other optimizer, or the words that no other was tried."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from references.stored_optimizers import several
from references.untold_peers import untold

from hpt.cli import compare_display
from hpt_reports import builder, step_time, targets
from hpt_reports.builder import page_text
from hpt_reports.evidence import Evidence, gather
from hpt_reports.figures import comparison as figures
from hpt_reports.page import Links, VerdictRow
from hpt_reports.pages import blocks, comparison, evaluation, evaluation_summary, peers

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"
PROFILE = "profile_byte_gpt.json"
FIVE = ("byte-gpt-b16", "byte-gpt", "mlp", "cnn", "regression")
LINKS = Links("runs/")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Three optimizers on five workloads, the ladder, ablations, and what is stored of a day before peers."""
    runs = tmp_path_factory.mktemp("runs")
    made = {
        "several": several(names=FIVE, optimizers=("adamw", "muon", "soap"), num_weights=103_000),
        "several-large": several(names=("byte-gpt-1m",), num_weights=1_050_000),
        "single": several(
            names=("mlp",),
            optimizers=("workload",),
            arms=("hybrid", "lr-boost", "without-ramp", "without-gate"),
        ),
    }
    for name, document in (made | _changed()).items():
        (runs / name).mkdir()
        (runs / name / "summary.json").write_text(json.dumps(document))
    shutil.copytree(EVIDENCE / "comparison_calibration", runs / "comparison_calibration")
    shutil.copy(EVIDENCE / PROFILE, runs)
    return gather(runs)


def _changed() -> dict[str, Any]:
    """The stored comparison of AdamW alone, with the ratios of the stored profile; and as of a day before peers."""
    text = (EVIDENCE / "comparison_default" / "summary.json").read_text(encoding="utf-8")
    speed = json.loads((EVIDENCE / PROFILE).read_text(encoding="utf-8"))["speed"]
    document, earlier = (
        json.loads(text),
        json.loads(re.sub("[;,.]? no other optimizer was tried", "", text, flags=re.I)),
    )
    measures = document["workloads"]["byte-gpt"]["arms"]["hybrid"]["measures"]
    measures["wall_ratio"] = measures["steps_ratio"] | {"value": speed["wall_ratio"]}
    measures["steps_ratio"]["value"] = speed["steps_ratio"]
    del earlier["settings"]["optimizers"]
    return {"comparison_default": document, "earlier": earlier}


def texts_of(evidence: Evidence) -> dict[str, str]:
    """Every page, the index and the blocks for other pages; figures are described in them and need no drawing."""
    pages = builder._pages(evidence, LINKS)
    texts = {name: page_text(page, LINKS, evidence) for name, page in pages.items()}
    texts["index"] = builder.index_text(list(pages.values()), evidence, LINKS)
    texts["readme"] = blocks.readme(evidence, LINKS)
    return texts | {"specification": blocks.engineering_spec(evidence, LINKS)}


def lines_of(evidence: Evidence) -> list[str]:
    several_files = ("several/", "several-large/")
    single = ("single/", "earlier/", "comparison_")
    return [line for text in texts_of(evidence).values() for line in untold(text, several_files, single)]


def test_no_gain_is_told_without_what_other_optimizers_do(evidence: Evidence) -> None:
    """Verdicts, summaries, tables, sentences and descriptions of figures; there are many gains to tell."""
    assert evidence.remarks == ()
    text = texts_of(evidence)["evaluation"]
    assert text.count("muon by itself") > 20
    assert text.count("no other optimizer was tried") > 20
    assert lines_of(evidence) == []


def nothing(*_: object) -> str:
    return ""


def first_part(target: Mapping[str, Any], evidence: Evidence) -> VerdictRow:
    """A target's number alone."""
    row = targets.verdict_of(target, evidence)
    return replace(row, measured=re.split("[;,] (?:no|the best)", row.measured)[0])


OMISSIONS: dict[str, tuple[ModuleType, str, Any]] = {
    "verdict rows": (evaluation, "beside", nothing),
    "the default trainer's line": (evaluation_summary, "peer_of", lambda *_: ("", ())),
    "targets": (blocks, "verdict_of", first_part),
    "the worst pair": (targets, "beside", nothing),
    "tables of methods": (comparison, "beside", nothing),
    "the table over all workloads": (comparison, "beside_overall", nothing),
    "sentences of an earlier day": (comparison, "told", lambda sentence, _: str(sentence)),
    "the headline's table": (peers, "_best_by_itself", lambda *_: {}),
    "the profile's ratio": (step_time, "beside", nothing),
    "descriptions of figures": (figures, "beside", nothing),
    "the last line of a comparison": (compare_display, "_beside", nothing),
}


@pytest.mark.parametrize("where", OMISSIONS)
def test_a_planted_omission_is_found(evidence: Evidence, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Each place that says it, silenced alone."""
    monkeypatch.setattr(*OMISSIONS[where])
    assert lines_of(evidence)
