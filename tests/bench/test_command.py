"""`hpt bench` end to end: every exit code, one JSON document, a run that is stopped and completed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyperf
import pytest
from references.brief_run import LIGHT, NAMES

from hpt.bench.comparison import SpeedVerdict
from hpt.cli.main import run

TESTS = Path(__file__).parents[1]
SORT = f"{LIGHT}:SORT"


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """Stdout, which must be exactly one JSON document."""
    return json.loads(capsys.readouterr().out)


def altered(finished: Path, path: Path, factor: float = 1.0, control_factor: float = 1.0, **facts: str) -> Path:
    """The same run on a steady machine, all times multiplied, the control's by a factor of its own, facts replaced.

    Every value lies within a thousandth of its median: what is tested does not depend on how busy the machine was.
    """
    measured = pyperf.BenchmarkSuite.load(str(finished / "bench.json"))
    control_s = measured.get_benchmark("control").median()
    changed: list[pyperf.Benchmark] = []
    for benchmark in measured:
        times = control_factor if benchmark.get_name() == "control" else factor
        runs: list[pyperf.Run] = []
        for one in benchmark.get_runs():
            metadata: dict[str, Any] = {**one.get_metadata(), **facts}
            metadata["hpt_control_s"] = control_s * control_factor
            values = [times * benchmark.median() * (1.0 + 0.001 * place) for place in range(len(one.values))]
            runs.append(pyperf.Run(values, warmups=one.warmups, metadata=metadata, collect_metadata=False))
        changed.append(pyperf.Benchmark(runs))
    pyperf.BenchmarkSuite(changed).dump(str(path))
    return path


def test_list_is_a_list_of_sixteen(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, group, unit and summary of each."""
    assert run(["bench", "list", "--json"]) == 0
    rows = document(capsys)
    assert len(rows) == 16
    assert all(set(row) == {"name", "group", "unit", "summary"} for row in rows)
    assert all(row["name"].startswith(row["group"] + "/") for row in rows)
    assert run(["bench", "list"]) == 0
    assert all(row["name"] in text for row, text in zip(rows, capsys.readouterr().out.splitlines(), strict=True))


def test_a_run_ends_with_one_document(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options before or after the target; what is finished is not measured again."""
    assert run(["bench", "--fast", f"{LIGHT}:SCENARIOS", "--out", str(finished), "--json"]) == 0
    found = document(capsys)
    assert found["schema_version"] == 1
    assert [row["name"] for row in found["scenarios"]] == NAMES
    row = found["scenarios"][2]
    assert row["unit_cost_s"] == pytest.approx(row["median_s"] / 4)
    assert row["per_unit"] == {"number": 200.0}
    assert found["scaling"][0]["num_sizes"] == 3
    assert found["low_variance"]["num_scenarios"] == 3
    assert (found["comparison"], found["failed"], found["is_interrupted"]) == (None, {}, False)


def test_the_table_has_every_number(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody tells how wide the screen is; progress goes to stderr."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run(["bench", f"{LIGHT}:SCENARIOS", "--fast", "--out", str(finished)]) == 0
    seen = capsys.readouterr()
    for word in (
        *NAMES,
        "median",
        "mean",
        "std",
        "5 %",
        "95 %",
        "values",
        "CV",
        "/ list",
        "R2",
        "vary by less than 5%",
    ):
        assert word in seen.out
    assert "3/3" in seen.err
    assert seen.out.count("200 numbers per list") == 1  # by the slope, for the whole group


def test_quiet_is_the_last_three_lines(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that are there without it; nothing on stderr; with --json the document alone."""
    words = ["bench", f"{LIGHT}:SCENARIOS", "--fast", "--out", str(finished)]
    assert run(words) == 0
    usual = capsys.readouterr().out.splitlines()
    assert usual[-3].startswith("Result: 3 scenarios timed")
    assert run([*words, "--quiet"]) == 0
    assert capsys.readouterr() == ("\n".join([*usual[-3:], ""]), "")
    assert run([*words, "--quiet", "--json"]) == 0
    seen = capsys.readouterr()
    assert json.loads(seen.out)["schema_version"] == 1
    assert seen.err == ""


@pytest.mark.usefixtures("_here")
def test_a_baseline_is_saved_and_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    """The second run of the same code is past no gate of 1000 %."""
    assert run(["bench", SORT, "--fast", "--out", "a", "--save-baseline", "before"]) == 0
    assert Path("runs/baselines/before.json").exists()
    capsys.readouterr()
    assert run(["bench", SORT, "--fast", "--out", "b", "--baseline", "before", "--gate", "1000%", "--json"]) == 0
    found = document(capsys)["comparison"]
    assert [row["name"] for row in found["rows"]] == ["light/sort_1"]
    assert found["control"] is not None


@pytest.mark.usefixtures("_here")
def test_a_failed_scenario_leaves_the_others_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Its reason is on stderr, no baseline is saved, and a broken plug-in is another failure."""
    words = [f"{LIGHT}:BROKEN", "nowhere:X", SORT, "--fast", "--out", "a", "--save-baseline", "x", "--json"]
    assert run(["bench", *words]) == 1
    seen = capsys.readouterr()
    found = json.loads(seen.out)
    assert [row["name"] for row in found["scenarios"]] == ["light/sort_1"]
    assert set(found["failed"]) == {"light/broken", "nowhere:X"}
    assert "light/broken: ValueError: no such file" in seen.err
    assert "not saved" in seen.err
    assert not Path("runs").exists()


WRONG = {
    "unknown scenario": (["confidence/cache"], "confidence/cached"),
    "unknown group": (["confidense"], "confidence"),
    "two modes": (["all", "--fast", "--rigorous"], "exclude each other"),
    "gate without baseline": (["all", "--gate", "5%"], "--baseline"),
    "gate that is none": (["all", "--baseline", "x", "--gate", "much"], "percent"),
    "no such baseline": (["all", "--baseline", "x"], "--save-baseline x"),
    "bad baseline name": (["all", "--save-baseline", "../x"], "a name has"),
    "affinity of no processor": (["all", "--affinity", "4096"], "name processors"),
    "affinity that is none": (["all", "--affinity", "a-b"], "name processors"),
    "no threads": (["all", "--threads", "0"], "threads"),
    "unknown preset": (["all", "--preset", "huge"], "reference"),
    "out is a file": (["all", "--out", "taken"], "is a file"),
    "unknown option": (["all", "--nonsense"], "nonsense"),
    "compare with nothing": (["compare", "a"], "NEW"),
    "compare what is not there": (["compare", "a.json", "b.json"], "a.json: it is not there"),
    "compare a foreign file": (["compare", "foreign.json", "foreign.json"], "version is missing"),
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
def test_wrong_calls_are_refused_before_anything_runs(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a line that helps."""
    Path("taken").write_text("x")
    Path("foreign.json").write_text('{"a": 1}')
    assert run(["bench", *words]) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["foreign.json", "taken"]


def test_compare_says_what_changed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same run: nothing, exit code 0. Six times slower: past the gate, 3; as a note without a gate, 0."""
    old, slow = str(altered(finished, tmp_path / "old.json")), str(altered(finished, tmp_path / "slow.json", 6.0))
    assert run(["bench", "compare", old, old, "--gate", "5%", "--json"]) == 0
    assert {row["verdict"] for row in document(capsys)["rows"]} <= {"same", "within noise"}
    assert run(["bench", "compare", old, slow]) == 0
    assert "regressed" in capsys.readouterr().out
    assert run(["bench", "compare", old, slow, "--gate", "5%"]) == 3
    seen = capsys.readouterr()
    assert "light/sort_1" in seen.err
    assert "past the gate" in seen.out
    assert run(["bench", "compare", slow, old, "--gate", "5%"]) == 0


def test_compare_refuses_other_machines(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5, also when nothing is in common."""
    other = altered(finished, tmp_path / "other.json", 1.0, hpt_cpu_model="another one")
    assert run(["bench", "compare", str(finished), str(other)]) == 5
    assert "another one" in capsys.readouterr().err
    one, two = (str(finished / "scenarios" / f"light.sort_{n}.json") for n in (1, 2))
    assert run(["bench", "compare", one, two]) == 5
    assert "no scenario in common" in capsys.readouterr().err


def test_strict_does_not_accept_the_inconclusive(finished: Path, tmp_path: Path) -> None:
    """A difference that only the machine explains: exit code 0, with --strict 4."""
    old = str(altered(finished, tmp_path / "old.json"))
    drift = str(altered(finished, tmp_path / "drift.json", 6.0, control_factor=6.0))
    assert run(["bench", "compare", old, drift, "--gate", "5%"]) == 0
    assert run(["bench", "compare", old, drift, "--strict"]) == 4


@pytest.mark.parametrize("gone", ["light/sort_2", "control"])
def test_strict_does_not_accept_that_something_vanished(
    finished: Path, tmp_path: Path, gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scenario, or the control, that only the old run has: exit code 4 with --strict, and its name."""
    kept = [one for one in pyperf.BenchmarkSuite.load(str(finished / "bench.json")) if one.get_name() != gone]
    pyperf.BenchmarkSuite(kept).dump(str(tmp_path / "fewer.json"))
    words = ["bench", "compare", str(finished), str(tmp_path / "fewer.json"), "--gate", "900%"]
    assert run(words) == 0
    capsys.readouterr()
    assert run([*words, "--strict"]) == 4
    assert f"{gone} (only in old)" in capsys.readouterr().err


def test_at_80_columns_every_verdict_is_whole(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name, median with its spread, ratio and verdict of every scenario, on one line each."""
    monkeypatch.setenv("COLUMNS", "80")
    old, slow = altered(finished, tmp_path / "old.json"), altered(finished, tmp_path / "slow.json", 600.0)
    run(["bench", "compare", str(old), str(slow), "--gate", "5%"])
    lines = capsys.readouterr().out.splitlines()
    for name in NAMES:
        (line,) = [one for one in lines if one.startswith(name)]
        verdicts = "|".join(SpeedVerdict)
        row = rf"\S+ +[\d.]+ \+- [\d.]+ [mun]?s +[\d.]+ .*({verdicts})(, past the gate)? *"
        assert re.fullmatch(row, line), line
        assert len(line) <= 80


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_completes_it(tmp_path: Path) -> None:
    """Exit code 130 with the command to go on; then only the rest is measured."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    words = ["bench", SORT, f"{LIGHT}:SLOW", "--fast", "--out", str(tmp_path / "o"), "--json"]
    command = [sys.executable, "-m", "hpt", *words]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "o" / "scenarios" / "light.sort_1.json").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert first.returncode == 130, err
    assert json.loads(out)["is_interrupted"] is True
    assert [row["name"] for row in json.loads(out)["scenarios"]] == ["light/sort_1"]
    assert f"to continue: hpt {' '.join(words)}" in err
    kept = (tmp_path / "o" / "scenarios" / "light.sort_1.json").read_bytes()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)["scenarios"]] == ["light/sort_1", "light/slow"]
    assert (tmp_path / "o" / "scenarios" / "light.sort_1.json").read_bytes() == kept
