"""`hpt report` as people and scripts call it: what it writes, what `--check` catches, and its exit codes."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from references.stored_runs import write_timings

from hpt.cli.main import run
from hpt.run.ownership import MANIFEST
from hpt_reports.builder import build
from hpt_reports.check import findings
from hpt_reports.writing import block_of, write

ROOT = Path(__file__).parents[2]


def edit_text(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_all_writes_everything_and_check_agrees(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second run finds nothing to say, and both pages got their block."""
    assert run(["report", "all"]) == 0
    written = capsys.readouterr().out.splitlines()
    assert len(written) == len({*written}) > 15
    assert all(Path(one).exists() for one in written)
    assert "SHA-256" in Path("reports/generated/index.md").read_text()
    assert "Targets: " in block_of(Path("README.md"))
    assert "overhead-1" in block_of(Path("docs/engineering_spec.md"))
    assert run(["report", "all", "--check"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "are what the evidence gives" in err


def test_another_folder_gets_the_same_bytes_and_no_page_is_touched(reported: Path) -> None:
    """`--out` elsewhere copies the reports and adds the page for a browser, whose links lead from there; no more."""
    readme = Path("README.md").read_bytes()
    assert run(["report", "all", "--runs", "reports/evidence", "--out", "out/reports"]) == 0
    files = {
        file.relative_to("out/reports"): file.read_bytes() for file in Path("out/reports").rglob("*") if file.is_file()
    }
    addresses = re.findall(r'href="([^"#]+)"', files.pop(Path("report.html")).decode())
    assert json.loads(files.pop(Path(MANIFEST)))["files"] == sorted([*map(str, files), "report.html"])
    assert len(addresses) > 15
    assert [one for one in addresses if not Path("out/reports", one).exists()] == []
    generated = Path("reports/generated")
    committed = [file for file in generated.rglob("*") if file.is_file() and file.name != MANIFEST]
    assert files == {file.relative_to(generated): file.read_bytes() for file in committed}
    assert Path("README.md").read_bytes() == readme


def lie_in_a_report() -> None:
    page = Path("reports/generated/PHASE_2_BENCHMARKING_REPORT.md")
    number = re.search(r"(\d+\.\d+) (ns|µs) \|", page.read_text())
    assert number is not None
    edit_text(page, number[0], number[0].replace(number[1], "0.01"))


def lie_in_readme() -> None:
    edit_text(Path("README.md"), "Targets: ", "Targets: 9")


def lie_in_the_specification() -> None:
    edit_text(Path("docs/engineering_spec.md"), "9.51 %", "1.51 %")


def lie_in_the_last_digit_of_a_run() -> None:
    edit_text(Path("reports/evidence/overhead_byte_gpt.json"), '"ratio_total": 1.0732939', '"ratio_total": 1.0732938')


def lie_in_a_log_beside_a_run() -> None:
    edit_text(Path("reports/evidence/vram/steps.csv"), "plain,1,1,WARMUP", "plain,1,1,PREDICT")


def delete_a_run() -> None:
    shutil.rmtree("reports/evidence/vram")


def add_a_run() -> None:
    write_timings(Path("reports/evidence/bench-more"), names=("state_history/record_step",))


def lie_in_a_figure() -> None:
    edit_text(Path("reports/generated/figures/horizons.csv"), "predicted_steps", "steps_predicted")


def leave_the_page_for_a_browser_behind() -> None:
    Path("reports/generated/report.html").write_text("<html></html>")


def leave_a_report_behind() -> None:
    Path("reports/generated/PHASE_9_REPORT.md").write_text("Twice as fast.\n")


def lose_the_marks() -> None:
    edit_text(Path("README.md"), "<!-- /measured -->", "")


LIES_IN_WHAT_IS_COMMITTED = {
    lie_in_a_report: "PHASE_2_BENCHMARKING_REPORT.md: differs",
    lie_in_readme: "README.md: its measured block differs",
    lie_in_the_specification: "engineering_spec.md: its measured block differs",
    lie_in_a_figure: "horizons.csv: differs",
    leave_the_page_for_a_browser_behind: "report.html: left over",
    leave_a_report_behind: "PHASE_9_REPORT.md: left over",
}


def test_check_names_every_lie_in_what_is_committed(reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A number edited in a report, and its line, in a page's block or a figure's data; a report that no run gives."""
    for lie in LIES_IN_WHAT_IS_COMMITTED:
        lie()
    capsys.readouterr()
    assert run(["report", "all", "--check"]) == 3
    err = capsys.readouterr().err
    assert [words for words in LIES_IN_WHAT_IS_COMMITTED.values() if words not in err] == []
    assert re.search(r"PHASE_2_BENCHMARKING_REPORT\.md: differs from what the evidence gives, first in line \d+", err)


@pytest.mark.parametrize(
    "lie",
    [lie_in_the_last_digit_of_a_run, lie_in_a_log_beside_a_run, add_a_run, lose_the_marks],
)
def test_check_catches_a_lie_in_the_evidence(reported: Path, lie: Callable[[], None]) -> None:
    """A run edited, be it in a digit that no report prints; a run added; marks lost."""
    lie()
    assert run(["report", "all", "--check"]) == 3


def test_images_are_compared_only_where_the_pinned_versions_draw(light_checkout: Path) -> None:
    """Another matplotlib may draw a hair differently; its bytes are no finding then, a missing figure still is."""
    assert run(["report", "all"]) == 0
    figure = Path("reports/generated/figures/prior.svg")
    figure.write_bytes(figure.read_bytes().replace(b"</svg>", b"<!-- --></svg>"))
    assert run(["report", "all", "--check"]) == 3
    edit_text(Path("constraints.txt"), "matplotlib==", "matplotlib==0.")
    assert run(["report", "all", "--check"]) == 0
    figure.unlink()
    assert run(["report", "all", "--check"]) == 3


def test_evidence_of_other_sources_warns_and_with_fresh_is_a_finding(
    light_checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The digest of the trainer that was measured is not that of the one that is here."""
    file = Path("reports/evidence/train/run.json")
    document = json.loads(file.read_text())
    document["environment"]["sources"]["trainer"] = "0" * 16
    file.write_text(json.dumps(document))
    assert run(["report", "all"]) == 0
    assert run(["report", "all", "--check"]) == 0
    assert "warning: train/run.json: measured on other sources of" in capsys.readouterr().err
    assert run(["report", "all", "--check", "--fresh"]) == 3
    assert "trainer" in capsys.readouterr().err


def test_a_skipped_input_is_a_warning_and_with_strict_exit_code_4(
    light_checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reports are written either way."""
    Path("reports/evidence/odd.json").write_text("{")
    assert run(["report", "all"]) == 0
    assert "warning: odd.json: corrupt, skipped" in capsys.readouterr().err
    assert run(["report", "all", "--strict"]) == 4


def test_json_is_one_document_with_files_inputs_and_findings(
    reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For scripts; messages stay on stderr. A run that was deleted is among the findings."""
    delete_a_run()
    assert run(["report", "all", "--check", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == []
    assert {"timing", "training"} <= {one["kind"] for one in document["inputs"]}
    assert any("PHASE_1_VALIDATION_REPORT" in one for one in document["findings"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("phase1", "PHASE_1_VALIDATION_REPORT.md"),
        ("phase2", "PHASE_2_BENCHMARKING_REPORT.md"),
        ("phase3", "PHASE_3_RELEASE_PREP_REPORT.md"),
        ("vram", "VRAM_MANAGEMENT_SUMMARY.md"),
        ("evaluation", "EVALUATION_REPORT.md"),
        ("survival", "SURVIVAL_REPORT.md"),
        ("readme", "blocks/readme.md"),
    ],
)
def test_one_report_alone(checkout: Path, tmp_path: Path, name: str, expected: str) -> None:
    """Only that one is written, with its figures and the lists it links to."""
    out = tmp_path / "out"
    assert run(["report", name, "--runs", "reports/evidence", "--out", str(out)]) == 0
    pages = {file.relative_to(out).as_posix() for file in out.rglob("*.md")}
    assert expected in pages
    assert pages <= {expected, "blocks/engineering_spec.md"}


@pytest.mark.parametrize(("form", "suffixes"), [("html", {".html"}), ("md", {".md", ".svg", ".csv"})])
def test_one_form_alone(light_checkout: Path, tmp_path: Path, form: str, suffixes: set[str]) -> None:
    """The page for a browser, or Markdown with its figures."""
    out = tmp_path / "out"
    assert run(["report", "all", "--runs", "reports/evidence", "--out", str(out), "--format", form]) == 0
    assert {file.suffix for file in out.rglob("[!.]*") if file.is_file()} == suffixes


def test_a_lie_in_the_page_for_a_browser_is_found_where_there_is_one(light_checkout: Path) -> None:
    """Elsewhere `--check` holds it against the runs as it does every file."""
    words = ["report", "all", "--runs", "reports/evidence", "--out", "out/reports"]
    assert run(words) == 0
    assert run([*words, "--check"]) == 0
    edit_text(Path("out/reports/report.html"), "<td", "<td title='x'")
    assert run([*words, "--check"]) == 3


def test_the_page_for_a_browser_is_not_written_among_committed_reports(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made on demand, in another folder."""
    assert run(["report", "all", "--format", "html"]) == 2
    assert "--out" in capsys.readouterr().err
    assert not Path("reports/generated").exists()


def test_your_own_runs_get_the_lists_that_their_pages_link_to(runs: Path, tmp_path: Path) -> None:
    """Outside a checkout there is no other copy to link to."""
    assert run(["report", "phase2", "--runs", str(runs), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "PHASE_2_BENCHMARKING_REPORT.md").read_text()
    for name in ("claims.toml", "targets.toml"):
        assert f"]({name})" in page
        assert (tmp_path / "out" / name).read_bytes() == (ROOT / "reports" / name).read_bytes()


def test_nothing_measured_is_exit_code_5_and_still_a_report(tmp_path: Path) -> None:
    """A script can tell; a reader finds the commands."""
    (tmp_path / "runs").mkdir()
    assert run(["report", "all", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 5
    assert "hpt bench all" in (tmp_path / "out" / "PHASE_2_BENCHMARKING_REPORT.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["report", "all", "--runs", "no-such-folder"], 2, "does not exist"),
        (["report", "phase9"], 2, "phase9"),
        (["report", "phase2", "--runs", "runs", "--format", "html"], 2, "all reports"),
        (["report", "all", "--runs", "runs", "--out", "taken"], 2, "is a file"),
    ],
)
def test_bad_calls_are_refused(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """One line that says what is wrong."""
    monkeypatch.chdir(runs.parent)
    Path("taken").write_text("")
    assert run(arguments) == code
    assert message in capsys.readouterr().err


def test_the_page_of_a_checkout_without_marks_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written at all, since the reports and README must agree."""
    lose_the_marks()
    assert run(["report", "all"]) == 2
    assert "put the marks back" in capsys.readouterr().err
    assert not Path("reports/generated/index.md").exists()


def test_a_number_that_a_template_makes_up_is_a_finding(light_checkout: Path) -> None:
    """Even in a report that says what the evidence gives: the sentence has no run behind it."""
    evidence, out = Path("reports/evidence"), Path("out/reports")
    built = build(evidence, out)
    page = "VRAM_MANAGEMENT_SUMMARY.md"
    lying = replace(built, files=dict(built.files) | {page: built.files[page] + b"\nIt saves 60 % of the memory.\n"})
    write(lying, out, form=None)
    assert list(findings(lying, out, only="all")) == [
        f"{page}: a number without evidence: It saves 60 % of the memory."
    ]
