"""Measuring one scenario: pyperf's manager as a process of its own, watched, and ended as a whole when it must.

Not by `hpt.run.processes`: pyperf's manager starts its own program again for every worker, with an environment and
processors of its choosing, reads the command line, allows one manager a process, and may hang. So it is a program of
its own that leads a process group: Ctrl-C reaches only the command line, which then ends manager and workers together.
Should the command line be killed, the manager ends the group: it watches the pipe that is its stdin.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from hpt.bench.discovery import Located
from hpt.bench.plan import MODES, BenchSettings
from hpt.bench.worker import FAILED, PROGRAM
from hpt.errors import DiskError, HptError

_POLL_S = 0.1
_GRACE_S = 5.0
_TAIL_CHARACTERS = 8000
_NO_SPACE = "No space left on device"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_INHERITED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG")
_INHERITED_PREFIXES = ("MALLOC_", "PYTORCH_", "TORCH_", "KMP_", "GOMP_", "HPT_")


class ScenarioFailed(HptError):
    """A scenario could not be measured.

    Args:
        message: why, one line.
        details: the end of what its processes wrote to stderr.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class Stopped(Exception):
    """The user asked to stop while a scenario was being measured; nothing of it is kept."""


def measure(
    located: Located, settings: BenchSettings, result: Path, *, is_stopped: Callable[[], bool], timeout_s: float
) -> None:
    """Measure one scenario into a pyperf file, which must not exist yet.

    Raises:
        ScenarioFailed: its set-up, self-check or timing failed, or it took too long.
        Stopped: `is_stopped` came true.
        DiskError: there is no space for the result.
    """
    with tempfile.TemporaryFile() as stderr:
        with subprocess.Popen(  # noqa: S603 - our own program
            command(located, settings, result),
            env=environment(settings.threads),
            stdin=subprocess.PIPE,  # its end tells the manager that this process is gone
            stdout=stderr,  # pyperf prints some of its errors there
            stderr=stderr,
            start_new_session=True,
        ) as process:
            try:
                code = _wait(process, is_stopped, timeout_s)
            except BaseException:
                _end(process)
                raise
        if code != 0 or not result.exists():
            raise _failure(located, code, _tail(stderr))


def command(located: Located, settings: BenchSettings, result: Path) -> list[str]:
    """Command line of the manager."""
    mode, scenario = MODES[settings.mode], located.scenario
    ours = {
        "source": located.source,
        "scenario": scenario.full_name,
        "preset": settings.preset.value,
        "torch-threads": settings.threads,
    }
    pyperfs = {
        "processes": mode.processes,
        "values": mode.values,
        "warmups": mode.warmups,
        "min-time": mode.min_time_s * scenario.timed_frac,
        "inherit-environ": ",".join(_inherited(os.environ)),
        "output": result,
    }
    if settings.affinity is not None:
        pyperfs["affinity"] = settings.affinity
    options = [part for name, value in {**ours, **pyperfs}.items() for part in (f"--{name}", str(value))]
    return [sys.executable, *PROGRAM, "--quiet", *options]


def environment(threads: int) -> dict[str, str]:
    """Environment of the manager: this process's, its import path, and the number of threads."""
    path = os.pathsep.join(dict.fromkeys(str(Path(entry).resolve()) for entry in sys.path))
    return {**os.environ, "PYTHONPATH": path, **dict.fromkeys(_THREADS, str(threads))}


def _inherited(names: Iterable[str]) -> list[str]:
    """Variables that workers get besides the few that pyperf passes on."""
    kept = [name for name in names if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)]
    return [*_THREADS, *kept]


def _wait(process: "subprocess.Popen[bytes]", is_stopped: Callable[[], bool], timeout_s: float) -> int:
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if is_stopped():
                raise Stopped from None
            if time.monotonic() > until_s:
                raise ScenarioFailed(
                    f"not finished after {timeout_s:g} s; raise --timeout or make it shorter"
                ) from None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the manager and its workers, and wait until they are gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, stderr.tell() - _TAIL_CHARACTERS))
    return stderr.read().decode("utf-8", errors="replace")


def _failure(located: Located, code: int, text: str) -> HptError:
    """Why the manager failed: the worker's own words where it had time for them, else the last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    said = [line.removeprefix(FAILED) for line in lines if line.startswith(FAILED)]
    reason = said[-1] if said else lines[-1].strip() if lines else "it said nothing"
    if _NO_SPACE in text:
        return DiskError(f"no space left while measuring {located.full_name}; free some or choose another --out")
    killed = f"killed by signal {-code}: " if code < 0 else ""
    return ScenarioFailed(killed + reason, text)
