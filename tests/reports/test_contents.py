"""Broken evidence is named and left out when it is read; a bug of a page is a bug, and blames no evidence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from references.damage import damages, is_named

from hpt.cli.main import run
from hpt_reports import builder
from hpt_reports.evidence import gather
from hpt_reports.page import Links

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"


def planted(stored: Path, folder: Path, file: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """One stored run alone, with damage in its document; what lies beside it comes along."""
    shutil.copytree((stored / file).parent, folder / "runs" / Path(file).parent, dirs_exist_ok=True)
    for other in (folder / "runs").rglob("*.json"):
        if other != folder / "runs" / file and other.name != "machine.json":
            other.unlink()
    document = json.loads((stored / file).read_text())
    change(document)
    (folder / "runs" / file).write_text(json.dumps(document))
    return folder / "runs"


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "a field is missing": ("profile.json", lambda one: one["parts"].pop("cost_ratio"), "parts.cost_ratio is missing"),
    "text for a number": (
        "overhead_byte_gpt.json",
        lambda one: one.update(ratio="much"),
        "ratio is 'much', it must be a valid number",
    ),
    "null for an object": ("vram/run.json", lambda one: one.update(arms=None), "arms is None, it must be an object"),
    "parts that contradict each other": (
        "compare/summary.json",
        lambda one: one["workloads"]["mlp"]["arms"].pop("hybrid"),
        "workloads.mlp.arms has no hybrid, which overall has",
    ),
    "times that add up to nothing": (
        "profile.json",
        lambda one: one["parts"].update(part_s={"forward": 0.0}),
        "its times add up to nothing",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_evidence_is_named_with_the_place_that_is_broken(stored: Path, tmp_path: Path, how: str) -> None:
    """Left out of the reports, which are written all the same."""
    file, change, reason = BROKEN[how]
    built = builder.build(planted(stored, tmp_path, file, change), tmp_path / "out")
    assert [(one.path, one.word) for one in built.evidence.remarks] == [(file, "corrupt")]
    assert reason in built.evidence.remarks[0].reason
    assert built.evidence.sources == ()


def test_the_page_of_a_refused_input_says_so_and_the_others_are_as_they_were(runs: Path, tmp_path: Path) -> None:
    """With file, field, value and rule; a page of other kinds has not a byte changed."""
    for other in ("bench-reference", "train"):
        shutil.rmtree(runs / other)
    whole = builder.build(runs, tmp_path / "out").files
    file = runs / "vram" / "run.json"
    file.write_text(file.read_text().replace('"checks": [', '"checks": 7, "_": [', 1))
    built = builder.build(runs, tmp_path / "out").files
    said = "| `vram/run.json` | corrupt | `checks is 7, it must be a valid array` |"
    assert said in built["PHASE_1_VALIDATION_REPORT.md"].decode()
    assert said in built["VRAM_MANAGEMENT_SUMMARY.md"].decode()
    for name in ("EVALUATION_REPORT.md", "PHASE_2_BENCHMARKING_REPORT.md"):
        lines = zip(built[name].splitlines(), whole[name].splitlines(), strict=True)
        assert [(new, old) for new, old in lines if new != old and b"targets.toml" not in old] == []


def test_a_damaged_log_beside_a_run_is_named(stored: Path, tmp_path: Path) -> None:
    """The calls of a memory validation without the phase they were in."""
    runs = planted(stored, tmp_path, "vram/run.json", lambda _: None)
    log = runs / "vram" / "steps.csv"
    log.write_text(log.read_text().replace("phase", "faze", 1))
    (remark,) = gather(runs).remarks
    assert (remark.word, remark.reason) == ("corrupt", "steps.csv beside it: [0].phase is missing")


@pytest.mark.parametrize("bug", [TypeError, AttributeError, KeyError, ValueError, ZeroDivisionError])
def test_a_bug_in_a_page_blames_no_evidence(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bug: type[Exception],
) -> None:
    """An internal error, exit code 1; with --debug the place in the page is shown."""

    def page_with_a_bug(*_: object) -> None:
        raise bug("planted in a page")

    monkeypatch.setattr(builder, "BUILDERS", {**builder.BUILDERS, "vram": page_with_a_bug})
    words = ["report", "all", "--runs", str(runs), "--out", str(tmp_path / "out")]
    assert run(words) == 1
    err = capsys.readouterr().err
    assert f"internal error, {bug.__name__}" in err
    assert "corrupt" not in err
    assert run([*words, "--debug"]) == 1
    assert "in page_with_a_bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    "file",
    [
        *("alarms.json", "overhead_byte_gpt.json", "profile.json", "train/run.json", "vram/run.json"),
        *("compare/summary.json", "release_check.json", "survival.json", "stopping.json", "policies.json"),
        *("value_models.json", "same_results.json", "bench-default/bench.json", "bench-default/machine.json"),
    ],
)
def test_no_damage_to_a_stored_file_breaks_a_page(stored: Path, tmp_path: Path, file: str) -> None:
    """Forty odd values of each, drawn by chance: file and field are named, or its pages are made."""
    origin = EVIDENCE / file if file == "release_check.json" else stored / file
    shutil.copytree(origin.parent, tmp_path / "runs", ignore=lambda _, names: [one for one in names if "." not in one])
    for other in (tmp_path / "runs").glob("*.json"):
        if file == "release_check.json" or other.name != "machine.json" or origin.name == "machine.json":
            other.unlink()
    if origin.name == "machine.json":
        shutil.copy(origin.parent / "bench.json", tmp_path / "runs")
    links = Links("runs/")
    for place, document in damages(json.loads(origin.read_text()), count=40):
        (tmp_path / "runs" / origin.name).write_text(json.dumps(document))
        evidence = gather(tmp_path / "runs")
        refused = [one for one in evidence.remarks if one.word != "partial"]
        assert len(evidence.sources) + len(refused) == 1, place
        assert all(is_named(place, one.reason) for one in refused), (place, refused)
        made = [make(evidence, links) for make in builder.BUILDERS.values()]
        assert all(page.summary for page in made), place
