"""The release check: commands really run, outcomes kept as they were, tests that check nothing found."""

import json
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from references.vacuous import vacuous_tests

import hpt
from hpt.cli.main import run
from hpt_reports.builder import build
from hpt_reports.release import command
from hpt_reports.release.command import UNFINISHED
from hpt_reports.release.steps import Step, StepOutcome, counts_of, run_all, shown, steps_of, torch_pin, version_of

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def python(
    name: str,
    code: str,
    *,
    limit_s: float = 30.0,
    needs: tuple[str, ...] = (),
    says: str = "",
) -> Step:
    command = [sys.executable, "-c", code]
    return Step(name=name, what=name, command=command, minutes=limit_s / 60.0, needs=needs, says=says)


def outcomes(
    steps: list[Step], root: Path, *, limit_s: float = 60.0, chosen: set[str] | None = None
) -> list[StepOutcome]:
    names = frozenset(chosen or {step.name for step in steps})
    return list(run_all(steps, root, chosen=names, limit_s=limit_s, watch=lambda _: None))


def test_exit_codes_durations_and_last_words_are_kept(tmp_path: Path) -> None:
    """A success, a failure, a program that is not there."""
    steps = [
        python("good", "print('fine')"),
        python("bad", "import sys; print('because'); sys.exit(9)"),
        Step(name="gone", what="gone", command=["no-such-program"], minutes=1),
    ]
    good, bad, gone = outcomes(steps, tmp_path)
    assert (good.status, good.exit_code, good.last_words) == ("passed", 0, None)
    assert (bad.status, bad.exit_code, bad.last_words) == ("failed", 9, ["because"])
    assert (gone.status, gone.exit_code) == ("failed", 127)
    assert all(one.duration_s is not None and one.duration_s >= 0 for one in (good, bad, gone))


def _is_alive(status: Path) -> bool:
    try:
        return status.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_step_past_its_time_has_failed_and_its_children_are_gone(tmp_path: Path) -> None:
    """Exit code 124; the process that it started does not live on."""
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('child').write_text(str(child.pid)); time.sleep(600)"
    )
    (slow,) = outcomes([python("slow", code, limit_s=2.0)], tmp_path)
    assert (slow.status, slow.exit_code) == ("failed", 124)
    status, until_s = Path("/proc", (tmp_path / "child").read_text(), "stat"), time.monotonic() + 10.0
    while _is_alive(status) and time.monotonic() < until_s:  # a killed process still has to be given the processor
        time.sleep(0.05)
    assert not _is_alive(status)


def test_what_was_not_asked_for_or_needs_a_failed_step_is_not_run(tmp_path: Path) -> None:
    """And says why; with no time left nothing is started."""
    steps = [
        python("first", "raise SystemExit(1)"),
        python("second", "pass", needs=("first",)),
        python("third", "pass"),
    ]
    first, second, third = outcomes(steps, tmp_path, chosen={"first", "second"})
    assert [one.status for one in (first, second, third)] == ["failed", "not run", "not run"]
    assert (second.reason, third.reason) == ("first failed", "not asked for")
    (late,) = outcomes([python("late", "pass")], tmp_path, limit_s=0.0)
    assert (late.status, late.reason) == ("not run", "no time left")


def test_an_answer_must_hold_what_it_should(tmp_path: Path) -> None:
    """An installed command of another version answers too."""
    steps = [python("right", "print('hpt 0.2.0')", says="0.2.0"), python("wrong", "print('hpt 0.1.9')", says="0.2.0")]
    right, wrong = outcomes(steps, tmp_path)
    assert (right.status, wrong.status) == ("passed", "failed")
    assert wrong.last_words == ["hpt 0.1.9"]


@pytest.mark.parametrize(("code", "expected"), [(3, "failed"), (4, "not run"), (5, "not run"), (6, "failed")])
def test_a_command_without_a_verdict_has_not_failed(tmp_path: Path, code: int, expected: str) -> None:
    """Benchmarks of another machine are not comparable, which is exit code 5; a regression is 3."""
    (result,) = outcomes([python("gate", f"raise SystemExit({code})")], tmp_path)
    assert (result.status, result.exit_code) == (expected, code)


def test_what_scripts_check_says_is_asked_of_scripts_check() -> None:
    """No step repeats one of its checks."""
    steps = {step.name: step for step in steps_of(ROOT, ROOT / "out" / "release")}
    said = [word for step in steps.values() for word in step.command]
    assert not {"ruff", "pyright", "lint-imports", "pytest"} & {Path(word).name for word in said}
    assert "scripts/check" in steps["check"].command


def test_benchmarks_run_as_those_that_they_are_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same preset, threads and processors as the stored ones; a machine that lacks those processors leaves them out."""
    stored = json.loads((ROOT / "reports/evidence/bench_default/machine.json").read_text(encoding="utf-8"))["settings"]
    assert stored["affinity"] == "1"
    measured: list[list[str]] = []
    for usable in ({0, 1}, {0}):
        monkeypatch.setattr("os.sched_getaffinity", lambda _process, usable=usable: usable)
        (bench,) = (step for step in steps_of(ROOT, ROOT / "out" / "release") if step.name == "bench")
        measured.append(list(bench.command[4:-2]))
    alike = ["--preset", stored["preset"], "--threads", str(stored["threads"])]
    assert measured == [[*alike, "--affinity", "1"], alike]


def test_the_version_is_the_sources_and_the_change_log_has_it() -> None:
    """What the release check looks for is what the package says of itself, wherever it was installed from."""
    assert version_of(ROOT) == hpt.__version__
    assert re.search(rf"^## \[{re.escape(hpt.__version__)}\] - \d{{4}}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)


def test_counts_of_tests_are_pytests_own(tmp_path: Path) -> None:
    """A passing, a failing, a skipped test, a broken fixture, and the only test of another run, as pytest has them."""
    (tmp_path / "test_four.py").write_text(
        "import pytest\n"
        "def test_good(): assert True\n"
        "def test_bad(): assert False\n"
        "@pytest.mark.skip\ndef test_not_now(): assert True\n"
        "@pytest.fixture\ndef broken(): raise RuntimeError\n"
        "def test_error(broken): assert True\n"
    )
    (tmp_path / "test_one.py").write_text("def test_other(): assert True\n")
    run = f"{shlex.quote(sys.executable)} -m pytest -q -p no:cacheprovider"
    words = [
        "bash",
        "-c",
        f"{run} test_one.py --junitxml=counts/one.xml; {run} test_four.py --junitxml=counts/four.xml",
    ]
    (tmp_path / "counts").mkdir()
    (tmp_path / "counts" / "of-an-earlier-check.xml").write_text("<testsuite tests='7'/>")
    step = Step(name="tests", what="tests", command=words, minutes=1, counts=tmp_path / "counts")
    (result,) = outcomes([step], tmp_path)
    assert (result.exit_code, result.tests) == (1, {"passed": 2, "failed": 2, "skipped": 1})
    assert counts_of(tmp_path / "absent") is None


def test_commands_are_shown_without_places_of_this_machine(tmp_path: Path) -> None:
    """As a person in the checkout would type them."""
    for step in steps_of(ROOT, ROOT / "out" / "release"):
        text = shown(step, ROOT)
        assert str(ROOT) not in text
        assert sys.executable not in text
    assert torch_pin(ROOT).startswith("torch==")


def test_vacuous_tests_are_found(tmp_path: Path) -> None:
    """No assertion, no expected error, no call of a function that checks; through helpers too."""
    (tmp_path / "references.py").write_text("def compare(a, b):\n    assert a == b\n\ndef show(a):\n    return a\n")
    (tmp_path / "test_some.py").write_text(
        "import pytest\nfrom references import compare, show\n\n"
        "def through(a):\n    compare(a, 1)\n\n"
        "def test_asserts():\n    assert 1\n\n"
        "def test_expects():\n    with pytest.raises(ValueError):\n        int('x')\n\n"
        "def test_through_helpers():\n    through(1)\n\n"
        "def test_only_runs():\n    show(1)\n\n"
        "class TestThing:\n    def test_nothing(self):\n        pass\n"
    )
    assert vacuous_tests(tmp_path) == ["test_some.py::test_only_runs", "test_some.py::test_nothing"]


def test_no_test_of_this_project_is_vacuous() -> None:
    """Each can fail by what it checks."""
    assert vacuous_tests(ROOT / "tests") == []


def test_the_command_stores_a_record_that_the_report_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change log for real: stored, printed as JSON, and a row of the release report; the rest not run."""
    monkeypatch.chdir(ROOT)
    out, work = tmp_path / "runs" / "release_check.json", tmp_path / "work"
    words = ["release-check", "--steps", "changelog", "--out", str(out), "--work", str(work), "--json"]
    code = run(words)
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    by_name = {step["name"]: step for step in printed["steps"]}
    assert by_name["changelog"]["status"] == {0: "passed", 3: "failed"}[code]
    assert {step["status"] for name, step in by_name.items() if name != "changelog"} == {"not run"}
    assert not printed["passed"]
    built = build(out.parent, tmp_path / "reports")
    assert [one.word for one in built.evidence.remarks] == ["partial"]
    text = built.files["PHASE_3_RELEASE_PREP_REPORT.md"].decode()
    assert "`grep -nF" in text
    assert text.split("## Tests")[1].split("## ")[0].strip() == "Not measured."


def test_no_record_appears_among_the_evidence_before_the_last_step_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step compares committed reports with the evidence; what is finished is kept in the work folder."""
    monkeypatch.chdir(ROOT)
    out, work, seen = tmp_path / "runs" / "release_check.json", tmp_path / "work", list[tuple[bool, bool]]()

    def two_steps(*_: object, **__: object) -> Iterator[StepOutcome]:
        for name in ("first", "last"):
            seen.append((out.exists(), (work / UNFINISHED).exists()))
            yield StepOutcome(name=name, what=name, command=name, status="passed")

    monkeypatch.setattr(command, "run_all", two_steps)
    assert run(["release-check", "--out", str(out), "--work", str(work)]) == 0
    assert seen == [(False, False), (False, True)]
    assert json.loads(out.read_text())["passed"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--steps", "fly"], 2, "no step"),
        (["--work", "reports"], 2, "not empty"),
    ],
)
def test_bad_calls_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    """Before anything is run."""
    monkeypatch.chdir(ROOT)
    assert run(["release-check", *words]) == code
    assert message in capsys.readouterr().err


def test_outside_a_checkout_it_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing prerequisite, exit code 6."""
    monkeypatch.chdir(tmp_path)
    assert run(["release-check"]) == 6
    assert "in a checkout" in capsys.readouterr().err
