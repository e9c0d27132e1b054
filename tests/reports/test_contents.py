"""Broken evidence is named and left out when it is read; a bug of a page is a bug, and blames no evidence."""

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpt.cli.main import run
from reports import builder
from reports.evidence import gather
from reports.page import Links
from reports.shapes import Each, Maybe, Rule, misfit

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"
Place = tuple[str | int, ...]


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
        "ratio is 'much', not a number",
    ),
    "null for an object": ("vram/run.json", lambda one: one.update(arms=None), "arms is None, not an object"),
    "parts that contradict each other": (
        "compare/summary.json",
        lambda one: one["workloads"]["mlp"]["arms"].pop("hybrid"),
        "a comparison whose workloads have every arm of its `overall`",
    ),
    "times that add up to nothing": (
        "prediction_byte_gpt.json",
        lambda one: [cell["seconds"].update(part={"forward": 0.0}) for cell in one["cells"]],
        "not times that add up to more than 0",
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


def test_a_damaged_log_beside_a_run_is_named(stored: Path, tmp_path: Path) -> None:
    """The calls of a memory validation without the phase they were in."""
    runs = planted(stored, tmp_path, "vram/run.json", lambda _: None)
    log = runs / "vram" / "steps.csv"
    log.write_text(log.read_text().replace("phase", "faze", 1))
    (remark,) = gather(runs).remarks
    assert (remark.word, remark.reason) == ("corrupt", "steps.csv beside it has no column phase")


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


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where every part of a document is; of lists the first two members."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*place, key)
        yield from places(one, (*place, key))


def damaged(document: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy with another value at a place; with none there for "gone"."""
    found = copy.deepcopy(document)
    inner: Any = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    if value == "gone":
        del inner[place[-1]]
    return found


@pytest.mark.parametrize(
    "file",
    [
        *("alarms.json", "overhead_byte_gpt.json", "prediction_byte_gpt.json", "profile.json", "wall_byte_gpt.json"),
        *("train/run.json", "vram/run.json", "compare/summary.json", "release_check.json", "survival.json"),
    ],
)
def test_no_damage_to_a_stored_file_breaks_a_page(stored: Path, tmp_path: Path, file: str) -> None:
    """Forty parts of each, drawn by chance, are deleted or replaced: the file is named, or its pages are made."""
    origin = EVIDENCE / file if file == "release_check.json" else stored / file
    shutil.copytree(origin.parent, tmp_path / "runs", ignore=lambda _, names: [one for one in names if "." not in one])
    (tmp_path / "runs" / origin.name).unlink()
    for other in (tmp_path / "runs").glob("*.json"):
        other.unlink()
    document, draw = json.loads(origin.read_text()), random.Random(file)
    links = Links("runs/")
    for place in draw.choices([one for one in places(document) if one[0] != "machine"], k=40):
        value = draw.choice(["gone", None, 7.5, -1, 0, True, "much", [], [1], {}, {"a": 1}])
        (tmp_path / "runs" / origin.name).write_text(json.dumps(damaged(document, place, value)))
        evidence = gather(tmp_path / "runs")
        assert len(evidence.sources) + sum(one.word != "partial" for one in evidence.remarks) == 1, (place, value)
        made = [make(evidence, links) for make in builder.BUILDERS.values()]
        assert all(page.summary for page in made), (place, value)


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (3, float, None),
        (True, float, "it is True, not a number"),
        (3.0, int, "it is 3.0, not a whole number"),
        ({"a": 1}, {"a": str}, "a is 1, not text"),
        ({}, {"a": str}, "a is missing"),
        ({}, {"a?": str}, None),
        ({"a": None}, {"a?": str}, "a is None, not text"),
        ({"a": None}, {"a": Maybe(str)}, None),
        ({"x": {"y": [1, "2"]}}, Each({"y": [int]}), "x.y[1] is '2', not a whole number"),
        ([1, 2], (int, int, int), "it has 2 members, not 3"),
        (5, Rule(int, lambda one: one < 5, "below 5"), "it is 5, not below 5"),
        ("5", Rule(int, lambda one: one < 5, "below 5"), "it is '5', not a whole number"),
        ({"a": 1}, lambda one: {"a": int} if "a" in one else {"b": int}, None),
    ],
)
def test_a_misfit_is_named_by_its_place(value: object, shape: object, expected: str | None) -> None:
    """Numbers, texts, absent and null fields, lists, objects of any names, rules, shapes that depend on the value."""
    assert misfit(value, shape) == expected
