"""Reports from runs: same bytes, every number linked, and "not measured" where nothing is."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyperf
import pytest
from references.markdown_tables import cells_of
from references.stored_runs import write_timings

from hpt.bench.comparison import compare
from hpt.bench.measurement import read_measurements
from hpt_reports.builder import Reports, build
from hpt_reports.check import numbers_without_source
from hpt_reports.timings import SCENARIOS

NAMES = (
    "PHASE_1_VALIDATION_REPORT",
    "PHASE_2_BENCHMARKING_REPORT",
    "PHASE_3_RELEASE_PREP_REPORT",
    "VRAM_MANAGEMENT_SUMMARY",
    "EVALUATION_REPORT",
    "SURVIVAL_REPORT",
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, stored: Path) -> tuple[Reports, Path]:
    out = tmp_path_factory.mktemp("built") / "reports"
    built = build(stored, out)
    for name, content in built.files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return built, out


def text_of(built: Reports, name: str) -> str:
    return built.files[f"{name}.md"].decode()


def rows_of(text: str, first: str) -> Iterator[list[str]]:
    """Cells of the table rows that begin with a cell."""
    for line in text.splitlines():
        cells = cells_of(line)
        if cells and cells[0].strip("` ") == first:
            yield cells


@pytest.fixture(scope="module")
def elsewhere(stored: Path, full: tuple[Reports, Path]) -> dict[str, Any]:
    """The digests of all files when another process builds them, under another hash seed, and what it imported."""
    code = (
        "import hashlib, json, sys; from pathlib import Path; from reports.builder import build;"
        f"files = build(Path({str(stored)!r}), Path({str(full[1])!r})).files;"
        "digests = {name: hashlib.sha256(one).hexdigest() for name, one in files.items()};"
        "print(json.dumps({'digests': digests, 'has_torch': 'torch' in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PATH": "", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    return json.loads(done.stdout)


def test_the_same_runs_give_the_same_bytes_in_another_process(
    elsewhere: dict[str, Any], full: tuple[Reports, Path]
) -> None:
    """Figures included: nothing depends on order, time or chance."""
    digests = {name: hashlib.sha256(one).hexdigest() for name, one in full[0].files.items()}
    assert elsewhere["digests"] == digests


def test_building_never_imports_torch(elsewhere: dict[str, Any]) -> None:
    """A report on a laptop needs no gigabyte of kernels."""
    assert not elsewhere["has_torch"]


@pytest.mark.parametrize("name", NAMES)
def test_every_report_has_its_parts_in_order(full: tuple[Reports, Path], name: str) -> None:
    """Five lines, at most a figure, verdicts, where and when, how to measure again, and last what was not measured."""
    text = text_of(full[0], name)
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads[:3] == ["Summary", "Verdicts", "Where and when"]
    assert heads[-2:] == ["How to measure again", "Not measured"]
    summary = text.split("## Summary\n")[1].split("## Verdicts")[0].strip().splitlines()
    assert sum(line.startswith("- ") for line in summary) == 5
    assert all(line[:2] in {"", "- ", "![", "*" + line[1:2]} for line in summary)  # and at most a figure


def test_every_number_is_linked_to_a_file_that_is_there(full: tuple[Reports, Path]) -> None:
    """In all reports, the index and the blocks for other pages."""
    built, out = full
    pages = [name for name in built.files if name.endswith(".md")]
    assert len(pages) == len(NAMES) + 3
    assert {
        name: found
        for name in pages
        if (found := list(numbers_without_source(built.files[name].decode(), (out / name).parent)))
    } == {}


def test_every_link_leads_somewhere(full: tuple[Reports, Path]) -> None:
    """Runs, data of figures, figures and other reports."""
    built, out = full
    for name in (one for one in built.files if one.endswith(".md")):
        for address in re.findall(r"\]\(([^)\s]+)\)", built.files[name].decode()):
            assert ((out / name).parent / address).exists(), (name, address)


def test_the_medians_are_those_of_pyperf(stored: Path, full: tuple[Reports, Path]) -> None:
    """What the table says is what `pyperf show` would say of the same file."""
    suite = pyperf.BenchmarkSuite.load(str(stored / "bench-default" / "bench.json"))
    text = text_of(full[0], "PHASE_2_BENCHMARKING_REPORT").split("## Scenarios, `default` preset")[1]
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    for name in SCENARIOS:
        row = next(rows_of(text, name))
        number, unit = row[1].split()
        assert float(number) * units[unit] == pytest.approx(suite.get_benchmark(name).median(), rel=5e-3)
        assert row[6] == "12 in 3"


def test_all_sixteen_scenarios_stand_beside_the_claims(full: tuple[Reports, Path]) -> None:
    """Claimed, measured for the original, measured here; none forgotten."""
    text = text_of(full[0], "PHASE_2_BENCHMARKING_REPORT").split("## Claimed, measured for the original")[1]
    assert all(len(next(rows_of(text, name))) == 7 for name in SCENARIOS)
    assert next(rows_of(text, "a predicted step (slope)"))[1:3] == ["24.0 µs", "539 µs"]


def test_an_empty_folder_gives_reports_that_say_so(tmp_path: Path) -> None:
    """Every report is there, says "not measured" and names a command for each thing it lacks; the prior is drawn."""
    (tmp_path / "runs").mkdir()
    built = build(tmp_path / "runs", tmp_path / "out")
    for name in NAMES:
        text = text_of(built, name)
        assert text.count("not measured") + text.count("Not measured") >= 5
        assert re.search(r"^\| .+ \| `(hpt|python|scripts)", text.split("## Not measured")[1], re.MULTILINE)
    assert {name for name in built.files if name.startswith("figures/")} == {"figures/prior.svg", "figures/prior.csv"}
    assert "reached" not in text_of(built, "PHASE_2_BENCHMARKING_REPORT")


def test_an_unmeasured_scenario_is_a_row_not_a_gap(tmp_path: Path) -> None:
    """It is listed as not measured among those that are."""
    write_timings(tmp_path / "runs", names=SCENARIOS[:9])
    text = text_of(build(tmp_path / "runs", tmp_path / "out", "phase2"), "PHASE_2_BENCHMARKING_REPORT")
    section = text.split("## Scenarios, `default` preset")[1].split("\n## ")[0]
    assert next(rows_of(section, SCENARIOS[12]))[1:4] == ["not measured"] * 3


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("vram/run.json", "arms"),
        ("vram/run.json", "settings"),
        ("compare/summary.json", "workloads"),
        ("compare/summary.json", "overall"),
        ("profile.json", "parts"),
        ("train/run.json", "config"),
        ("overhead_byte_gpt.json", "ratio"),
    ],
)
def test_a_run_with_the_wrong_content_is_named_and_left_out(
    stored: Path, tmp_path: Path, file: str, field: str
) -> None:
    """A field of another type is no reason to fail, nor to print what it says."""
    document = json.loads((stored / file).read_text())
    document[field] = 7.5 if field != "ratio" else "much"
    (tmp_path / "runs" / file).parent.mkdir(parents=True)
    (tmp_path / "runs" / file).write_text(json.dumps(document))
    built = build(tmp_path / "runs", tmp_path / "out")
    assert [(one.path, one.word) for one in built.evidence.remarks] == [(file, "corrupt")]
    assert file not in {one.path for one in built.evidence.sources}


def test_text_from_a_run_cannot_act_in_the_page(stored: Path, tmp_path: Path) -> None:
    """Names with HTML and Markdown in them stay text, in Markdown and in the browser's page."""
    runs = Path(shutil.copytree(stored / "compare", tmp_path / "runs"))
    file = runs / "summary.json"
    evil = "<script>alert(1)</script> | [x](http://example.org) `"
    document = json.loads(file.read_text())
    document["workloads"][evil] = document["workloads"].pop("mlp")
    document["overall"]["hybrid"]["sentence"] = evil
    file.write_text(json.dumps(document))
    built = build(runs, tmp_path / "out")
    assert built.evidence.remarks == ()
    page = built.files["report.html"].decode()
    assert "<script" not in page
    assert 'href="http://example.org"' not in page


def test_the_page_for_a_browser_needs_nothing_else(full: tuple[Reports, Path]) -> None:
    """One file with all reports; every image is inside and described; no script, no style from elsewhere."""
    page = full[0].files["report.html"].decode()
    images = re.findall(r"<img ([^>]+)>", page)
    assert len(images) == sum(name.endswith(".svg") for name in full[0].files)
    assert all('src="data:image/svg+xml;base64,' in one and re.search(r'alt="[^"]{20,}"', one) for one in images)
    assert not re.search(r"<script|<link|@import|url\(|src=\"(?!data:)", page)
    assert all(f'<section id="{name}">' in page for name in NAMES)


def test_links_in_a_checkout_do_not_depend_on_where_the_reports_go(light_checkout: Path) -> None:
    """So that a copy elsewhere equals the committed files byte for byte; it has the page for a browser as well."""
    evidence = light_checkout / "reports" / "evidence"
    committed = build(evidence, light_checkout / "reports" / "generated")
    elsewhere = build(evidence, light_checkout / "out" / "reports")
    assert {name: text for name, text in elsewhere.files.items() if name != "report.html"} == committed.files
    for name in (one for one in committed.files if one.endswith("REPORT.md")):
        for address in re.findall(r"\]\((\.\./[^)]+)\)", committed.files[name].decode()):
            assert (light_checkout / "reports" / address.removeprefix("../")).exists()


def test_two_runs_of_a_preset_are_compared_as_the_command_does(tmp_path: Path) -> None:
    """Ratio, interval and verdict of every scenario, equal to those of `hpt bench compare`."""
    names = (*SCENARIOS[:2], "control")
    old = write_timings(tmp_path / "runs" / "a-old", names=names)
    new = write_timings(tmp_path / "runs" / "b-new", names=names)
    text = text_of(build(tmp_path / "runs", tmp_path / "out", "phase2"), "PHASE_2_BENCHMARKING_REPORT")
    section = text.split("## Against the benchmarks before")[1].split("\n## ")[0]
    expected = compare(read_measurements(old), read_measurements(new))
    assert len(expected.rows) == 2
    for row in expected.rows:
        cells = next(rows_of(section, row.name))
        assert float(cells[3].split("x")[0]) == pytest.approx(row.ratio, rel=5e-3)
        assert cells[4].strip("* ") == row.verdict


def test_runs_of_two_machines_are_not_compared(tmp_path: Path) -> None:
    """The reason stands where the table would."""
    for name, cpu in (("a-old", "one processor"), ("b-new", "another processor")):
        file = write_timings(tmp_path / "runs" / name, names=("state_history/record_step",))
        file.write_text(file.read_text().replace('"hpt_schema":1', f'"hpt_cpu_model":"{cpu}","hpt_schema":1'))
    text = text_of(build(tmp_path / "runs", tmp_path / "out", "phase2"), "PHASE_2_BENCHMARKING_REPORT")
    assert "Not comparable with" in text.split("## Against the benchmarks before")[1].split("\n## ")[0]
