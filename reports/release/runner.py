"""Runs steps one after the other and keeps what came of them: exit code, duration, counts of tests, last words."""

import os
import shlex
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reports.release.steps import Step

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
EXIT_TIMEOUT, EXIT_NOT_FOUND = 124, 127
LAST_LINES = 15
STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a step; None where it was not run.

    Attributes:
        name, what: of the step.
        command: as a person would type it.
        status: passed, failed or not run.
        exit_code: of the command; 124 after its time.
        duration_s: seconds.
        tests: counts by outcome, of a step that runs tests.
        last_words: of a failed one.
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

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_all(
    steps: Sequence[Step], root: Path, *, chosen: frozenset[str], limit_s: float, watch: Callable[[Result | Step], None]
) -> Iterator[Result]:
    """Run the chosen steps in order; one that needs a failed one, or for which no time is left, is not run.

    Raises:
        KeyboardInterrupt: the user stopped it; the running command was ended.
    """
    ended: dict[str, Result] = {}
    began = time.monotonic()
    for step in steps:
        left_s = limit_s - (time.monotonic() - began)
        reason = _reason(step, chosen, ended, left_s)
        if reason is None:
            watch(step)
            result = _run(step, root, min(step.limit_s, left_s))
        else:
            result = Result(name=step.name, what=step.what, command=shown(step, root), status=NOT_RUN, reason=reason)
        ended[step.name] = result
        watch(result)
        yield result


def _reason(step: Step, chosen: frozenset[str], ended: dict[str, Result], left_s: float) -> str | None:
    if step.name not in chosen:
        return "not asked for"
    broken = [name for name in step.needs if ended[name].status == FAILED]
    if broken:
        return f"{broken[0]} failed"
    return "no time left" if left_s <= 0.0 else None


def shown(step: Step, root: Path) -> str:
    """The command with paths from the root of the checkout, and `python` for the interpreter."""
    words = ["python" if word == sys.executable else word for word in step.command]
    return shlex.join(words).replace(f"{Path(sys.executable).parent}/", "").replace(f"{root}/", "")


def _run(step: Step, root: Path, limit_s: float) -> Result:
    began = time.monotonic()
    if step.junit is not None:
        step.junit.unlink(missing_ok=True)
    code, text = _execute(step.command, root, limit_s)
    return Result(
        name=step.name,
        what=step.what,
        command=shown(step, root),
        status=PASSED if code == 0 else FAILED,
        exit_code=code,
        duration_s=round(time.monotonic() - began, 3),
        tests=None if step.junit is None else counts_of(step.junit),
        last_words=None if code == 0 else text.replace(f"{root}/", "").splitlines()[-LAST_LINES:],
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


def counts_of(junit: Path) -> dict[str, int] | None:
    """Passed, failed and skipped tests of a pytest run; None if it left no counts."""
    try:
        root = ET.parse(junit).getroot()  # noqa: S314 - pytest wrote it a moment ago
    except (OSError, ET.ParseError):
        return None
    suites = root.iter("testsuite")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in suites:
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
    failed = totals["failures"] + totals["errors"]
    return {"passed": totals["tests"] - failed - totals["skipped"], "failed": failed, "skipped": totals["skipped"]}
