"""The steps of `hpt release-check`: what must pass before a release, run one after the other, and what came of each.

`scripts/check` is one of them, with everything that must pass after any change. The others are what it cannot say:
the wheel works in a fresh environment that a user would have, its documented commands run there, no benchmark has
regressed, version and change log agree, and the committed evidence was measured on these sources.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hpt.errors import InconclusiveError, NothingMeasured, PrerequisiteError
from hpt.machine import cpus_of

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
STOP_S = 5.0
EXIT_TIMEOUT, EXIT_NOT_FOUND = 124, 127
UNDECIDED = (InconclusiveError.exit_code, NothingMeasured.exit_code)
"""Exit codes of hpt's commands that are no verdict: the benchmarks of the evidence are of another machine, say."""
LAST_LINES = 15
BASELINE = "reports/evidence/bench_default/bench.json"
BASELINE_SETTINGS = "reports/evidence/bench_default/machine.json"
VERSION_FILE = "hpt/version.py"
NEEDED = (
    "pyproject.toml",
    VERSION_FILE,
    "constraints.txt",
    "CHANGELOG.md",
    "scripts/check",
    BASELINE,
    BASELINE_SETTINGS,
)
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True, slots=True)
class Step:
    """One command.

    Attributes:
        name: short.
        what: for tables.
        command: words, the program first.
        minutes: after which it has failed.
        needs: names of steps that must have passed.
        says: text that its output must hold.
        counts: folder in which each run of tests leaves its counts.
    """

    name: str
    what: str
    command: Sequence[str]
    minutes: float
    needs: tuple[str, ...] = ()
    says: str = ""
    counts: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What came of a step; None where it was not run.

    Attributes:
        name, what: of the step.
        command: as a person would type it.
        status: passed, failed or not run.
        exit_code: of the command; 124 after its time.
        duration_s: seconds.
        tests: counts by outcome, of a step that runs tests.
        last_words: of one that did not pass.
        reason: why it was not run.
    """

    name: str
    what: str
    command: str
    status: str
    exit_code: int | None = None
    duration_s: float | None = None
    tests: dict[str, int] | None = None
    last_words: list[str] | None = None
    reason: str | None = None


def steps_of(root: Path, work: Path) -> list[Step]:
    """All steps, in order.

    Args:
        root: of the checkout.
        work: folder for everything that the steps leave behind.

    Raises:
        PrerequisiteError: the folder is no checkout of the project.
    """
    lacking = [name for name in NEEDED if not (root / name).exists()]
    if lacking:
        raise PrerequisiteError(f"{root} has no {lacking[0]}; run hpt release-check in a checkout of the project")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"].replace("-", "_"), version_of(root)
    python, fresh, runs = sys.executable, work / "env" / "bin", work / "runs"
    wheel, env = work / "wheel" / f"{name}-{version}-py3-none-any.whl", str(work / "env")
    build = [python, *PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheel.parent), "."]
    install = [str(fresh / "python"), *PIP, "install", "-c", "constraints.txt", torch_pin(root), str(wheel)]
    hpt, installed, tests = str(fresh / "hpt"), ("install",), work / "tests"
    bench, vram, compare = str(runs / "bench"), str(runs / "vram"), str(runs / "compare")
    measure = [hpt, "bench", "all", "--fast", *settings_of_baseline(root), "--out", bench]
    memory = [hpt, "validate-vram", "--model", "gpt2-nano", "--out", vram]
    report = [hpt, "report", "all", "--runs", str(runs), "--out", str(work / "reports")]
    check = ["env", f"HPT_TEST_COUNTS={tests}", "scripts/check"]
    fresh_evidence = [python, "-m", "hpt", "report", "all", "--check", "--fresh"]
    return [
        Step("changelog", "the change log has this version", ["grep", "-nF", f"## [{version}]", "CHANGELOG.md"], 1),
        Step("wheel", "build of the wheel", build, 2),
        Step("environment", "fresh environment", [python, "-m", "venv", "--clear", env], 2),
        Step("install", "install of the wheel into the fresh environment", install, 10, ("wheel", "environment")),
        Step("version", "the installed command is of this version", [hpt, "--version"], 1, installed, says=version),
        Step("bench", "all benchmarks, fast", measure, 5, installed),
        Step("gate", "no benchmark has regressed", [hpt, "bench", "compare", BASELINE, bench], 1, ("bench",)),
        Step("memory", "memory validation", memory, 3, installed),
        Step("compare", "comparison, quick", [hpt, "compare", "--budget", "quick", "--out", compare], 6, installed),
        Step("report", "reports from these runs", report, 1, installed),
        Step("check", "everything that a change must pass", check, 20, counts=tests),
        Step("evidence", "committed reports against evidence that is measured on these sources", fresh_evidence, 2),
    ]


def settings_of_baseline(root: Path) -> list[str]:
    """Options of `hpt bench` under which its results may be compared with the baseline's, where this machine can."""
    settings = json.loads((root / BASELINE_SETTINGS).read_text(encoding="utf-8"))["settings"]
    alike = {name: str(settings[name]) for name in ("preset", "threads", "affinity") if settings[name] is not None}
    if "affinity" in alike and not cpus_of(alike["affinity"]) <= os.sched_getaffinity(0):
        del alike["affinity"]
    return [word for name, value in alike.items() for word in (f"--{name}", value)]


def version_of(root: Path) -> str:
    """The version that the checkout's sources state, which need not be that of the installed package.

    Raises:
        PrerequisiteError: they state none.
    """
    found = re.search(r'^__version__ = "(.+)"$', (root / VERSION_FILE).read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise PrerequisiteError(f"{root / VERSION_FILE} states no version; add its line __version__ = ...")
    return found[1]


def torch_pin(root: Path) -> str:
    """The exact version of torch: a looser one may bring gigabytes of GPU libraries along.

    Raises:
        PrerequisiteError: the constraints pin none.
    """
    found = re.search(r"^torch==\S+$", (root / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise PrerequisiteError(f"{root / 'constraints.txt'} pins no torch; add its line")
    return found[0]


def run_all(
    steps: Sequence[Step],
    root: Path,
    *,
    chosen: frozenset[str],
    limit_s: float,
    watch: Callable[[StepOutcome | Step], None],
) -> Iterator[StepOutcome]:
    """Run the chosen steps in order; one that needs one that did not pass, or has no time left, is not run.

    Raises:
        KeyboardInterrupt: the user stopped it; the running command was ended.
    """
    ended: dict[str, StepOutcome] = {}
    began = time.monotonic()
    for step in steps:
        left_s = limit_s - (time.monotonic() - began)
        reason = _reason(step, chosen, ended, left_s)
        if reason is None:
            watch(step)
        result = _run(step, root, min(60.0 * step.minutes, left_s)) if reason is None else left_out(step, root, reason)
        ended[step.name] = result
        watch(result)
        yield result


def left_out(step: Step, root: Path, reason: str) -> StepOutcome:
    """Of a step that was not run."""
    return StepOutcome(name=step.name, what=step.what, command=shown(step, root), status=NOT_RUN, reason=reason)


def _reason(step: Step, chosen: frozenset[str], ended: dict[str, StepOutcome], left_s: float) -> str | None:
    if step.name not in chosen:
        return "not asked for"
    broken = [name for name in step.needs if ended[name].status == FAILED]
    if broken:
        return f"{broken[0]} failed"
    return "no time left" if left_s <= 0.0 else None


def shown(step: Step, root: Path) -> str:
    """The command with paths from the root of the checkout, and `python` for the interpreter."""
    words = ["python" if word == sys.executable else word for word in step.command]
    return shlex.join(words).replace(f"{root}/", "")


def _run(step: Step, root: Path, limit_s: float) -> StepOutcome:
    began = time.monotonic()
    if step.counts is not None:
        shutil.rmtree(step.counts, ignore_errors=True)
    code, text = _execute(step.command, root, limit_s)
    has_passed = code == 0 and step.says in text
    words = text.replace(f"{root}/", "").splitlines()[-LAST_LINES:]
    is_open = code in UNDECIDED
    return StepOutcome(
        name=step.name,
        what=step.what,
        command=shown(step, root),
        status=PASSED if has_passed else NOT_RUN if is_open else FAILED,
        exit_code=code,
        duration_s=round(time.monotonic() - began, 3),
        tests=None if step.counts is None else counts_of(step.counts),
        last_words=None if has_passed else words,
        reason="no verdict" if is_open else None,
    )


def _execute(command: Sequence[str], root: Path, limit_s: float) -> tuple[int, str]:
    """Exit code and output; the command's whole process group ends with it."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the words are ours
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return EXIT_NOT_FOUND, f"{command[0]} cannot be started: {error.strerror}"
    try:
        text, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return EXIT_TIMEOUT, f"{_end(process)}\nended after {limit_s:.0f} s"
    except BaseException:
        _end(process)
        raise
    return process.returncode, text


def _end(process: "subprocess.Popen[str]") -> str:
    for one in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, one)
        with suppress(subprocess.TimeoutExpired):
            text, _ = process.communicate(timeout=STOP_S)
            return text
    return ""


def counts_of(folder: Path) -> dict[str, int] | None:
    """Passed, failed and skipped tests of all runs that left counts there; None without any that can be read."""
    try:
        files = [ET.parse(file) for file in sorted(folder.glob("*.xml"))]  # noqa: S314 - pytest wrote it a moment ago
    except ET.ParseError:
        return None
    suites = [suite for file in files for suite in file.getroot().iter("testsuite")]
    if not suites:
        return None
    total, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return {"passed": total - failures - errors - skipped, "failed": failures + errors, "skipped": skipped}
