"""Measuring for real: pyperf's manager and workers as processes, what reaches them, and how they end."""

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyperf
import pytest
from references.brief_run import NAME, located

from hpt.bench.driver import ScenarioFailed, Stopped, environment, measure
from hpt.bench.plan import BenchSettings
from hpt.bench.scenario import Preset

SETTINGS = BenchSettings(mode=NAME)


def go(name: str, result: Path, settings: BenchSettings = SETTINGS, timeout_s: float = 60) -> None:
    measure(located(name), settings, result, is_stopped=lambda: False, timeout_s=timeout_s)


def children() -> list[str]:
    """Command lines of managers and workers; other tests of this session may have left helpers of their own."""
    alive = [one for one in psutil.Process().children(recursive=True) if one.status() != "zombie"]
    return [line for line in (" ".join(one.cmdline()) for one in alive) if "hpt.bench.worker" in line]


def test_from_a_hostile_folder_the_result_is_pyperfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules lying in the working directory stand in for nothing; the file holds calibration, warm-ups and values."""
    for name in ("pyperf", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')")
    (tmp_path / "hpt").mkdir()
    (tmp_path / "hpt" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    monkeypatch.chdir(tmp_path)
    go("SORT", tmp_path / "r.json")
    benchmark = pyperf.BenchmarkSuite.load(str(tmp_path / "r.json")).get_benchmark("light/sort_1")
    runs = benchmark.get_runs()
    assert [len(run.values) for run in runs] == [0, 2, 2]
    assert all(len(run.warmups) == 1 for run in runs[1:])
    assert benchmark.get_metadata()["hpt_unit"] == "list"
    assert benchmark.get_metadata()["hpt_per_unit_number"] == 200.0
    assert all(run.get_metadata()["hpt_control_s"] > 0 for run in runs)


def test_workers_get_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, preset and the allocator's settings, and no torch unless the scenario imports it."""
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("SECRET", "x")
    settings = BenchSettings(mode=NAME, threads=1, preset=Preset.REFERENCE, affinity="0")
    go("CURIOUS", tmp_path / "r.json", settings)
    benchmark = pyperf.BenchmarkSuite.load(str(tmp_path / "r.json")).get_benchmark("light/curious")
    assert benchmark.get_metadata()["hpt_imports_torch"] == 0
    assert benchmark.get_metadata()["cpu_affinity"] == "0"


def test_the_number_of_threads_is_told_to_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variable said before. No worker is started: several threads on one core wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    told = environment(3)
    assert {told[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")} == {"3"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("BROKEN", "ValueError: no such file, in .*light_scenarios.py, line .*broken_set_up"),
        ("IDLE", "self-check failed, this does not hold: the call works"),
        ("LEAVES", r"it called sys.exit\(0\), in .*light_scenarios.py, line .*leaves"),
        ("LEAVES_LATE", r"it called sys.exit\(0\), in .*light_scenarios.py, line .*<lambda>"),
        ("STUMBLES", "KeyError: '.k.', in .*light_scenarios.py, line .*stumble"),
    ],
)
def test_a_scenario_that_does_not_work_is_not_timed(tmp_path: Path, name: str, reason: str) -> None:
    """One line says why and where, the traceback is kept, and there is no result; what it prints disturbs nothing."""
    with pytest.raises(ScenarioFailed) as caught:
        go(name, tmp_path / "r.json")
    assert re.fullmatch(reason, str(caught.value))
    assert "Traceback" in caught.value.details
    assert list(tmp_path.iterdir()) == []


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """With all its processes."""
    with pytest.raises(ScenarioFailed, match="not finished after 1 s"):
        go("SLOW", tmp_path / "r.json", BenchSettings(mode="rigorous"), timeout_s=1)
    assert children() == []


def test_a_killed_command_line_takes_manager_and_worker_along(tmp_path: Path) -> None:
    """SIGKILL leaves it no time to end them: the manager watches its stdin, and ends the group."""
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from hpt.bench.discovery import Located\n"
        "from hpt.bench.driver import measure\n"
        "from hpt.bench.plan import BenchSettings\n"
        "from references.light_scenarios import SLOW\n"
        "located = Located('references.light_scenarios:SLOW', SLOW)\n"
        f"result = Path({str(tmp_path / 'r.json')!r})\n"
        "measure(located, BenchSettings(mode='rigorous'), result, is_stopped=lambda: False, timeout_s=60)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    under_it = psutil.Process(killed.pid)
    until = time.monotonic() + 30
    while len(under_it.children(recursive=True)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    both = under_it.children(recursive=True)
    assert len(both) == 2
    killed.kill()
    killed.wait()
    _, alive = psutil.wait_procs(both, timeout=5)
    assert alive == []


def test_stopping_ends_all_processes(tmp_path: Path) -> None:
    """Manager and worker are gone when it returns, and nothing is left behind."""
    began = time.monotonic()

    def is_stopped() -> bool:
        return any("--pipe" in one for one in children()) or time.monotonic() > began + 20  # a worker is at work

    with pytest.raises(Stopped):
        measure(
            located("SLOW"), BenchSettings(mode="rigorous"), tmp_path / "r.json", is_stopped=is_stopped, timeout_s=60
        )
    assert children() == []
    assert list(tmp_path.iterdir()) == []
