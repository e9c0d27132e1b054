"""`hpt compare` as a user runs it: calibrations come out right, it survives a kill, and it refuses nonsense."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from references.fresh_process import FreshProcess

from hpt.cli.main import run
from hpt.compare.cells import Recipe
from hpt.compare.request import ComparisonRequest
from hpt.compare.roster import ARMS
from hpt.compare.search import Tuned
from hpt.compare.tuning import TuningCache

pytestmark = pytest.mark.processes

REGRESSION = ["--workloads", "regression=300", "--arms", "self,planted,frozen", "--budget", "quick"]


def compare(out: Path, *arguments: str) -> int:
    return run(["compare", "--out", str(out), "--tuning-cache", str(out / "tuning"), *arguments])


def summary_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seeds of a workload whose cells take a tenth of a second."""
    out = tmp_path_factory.mktemp("calibration") / "out"
    assert compare(out, *REGRESSION, "--seeds", "5", "--jobs", "2") == 0
    return out


def arm_of(out: Path, arm: str, workload: str = "regression") -> dict[str, Any]:
    return summary_of(out)["workloads"][workload]["arms"][arm]


def test_the_baseline_against_itself_is_one(calibrated: Path) -> None:
    """On disjoint seeds: the interval contains 1 and is narrower than +-10 %."""
    found = arm_of(calibrated, "self")
    ratio = found["measures"]["work_ratio"]
    assert found["finds_known_ratio"]
    assert 0.9 < ratio["low"] <= 1.0 <= ratio["high"] < 1.1
    assert found["judgement"]["verdict"] == "no difference"


def test_a_planted_gain_is_found(calibrated: Path) -> None:
    """30 % more steps on disjoint seeds, relabelled: 1.3 lies in the interval, and 1 does not."""
    found = arm_of(calibrated, "planted")
    assert found["finds_known_ratio"]
    assert found["measures"]["work_ratio"]["low"] > 1.1
    assert found["judgement"]["verdict"] == "accelerates"


def test_a_calibration_is_never_a_claim(calibrated: Path) -> None:
    """However good it looks."""
    assert arm_of(calibrated, "planted")["claim"] is False


def test_all_results_are_written(calibrated: Path) -> None:
    """Summary, tables, seeds, figures; 5 seeds x (4 lengths + 3 arms) cells."""
    files = {path.name for path in calibrated.iterdir()}
    assert {"summary.json", "tables.md", "seeds.csv", "figures", "cells", "comparison.json"} <= files
    assert len(list((calibrated / "cells").iterdir())) == 5 * 7
    assert summary_of(calibrated)["complete"]


def test_quiet_is_the_last_three_lines(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the tables, and without them; nothing on stderr."""
    assert compare(calibrated, "--resume", "--no-figures") == 0
    usual = capsys.readouterr().out.splitlines()
    assert usual[-3] == "Result: no method was compared"
    assert compare(calibrated, "--resume", "--no-figures", "--quiet") == 0
    assert capsys.readouterr() == ("\n".join([*usual[-3:], ""]), "")


def test_a_boosted_learning_rate_posing_as_prediction_does_not_win(tmp_path: Path) -> None:
    """It may beat the baseline, but never the control that does openly what it does in secret."""
    out = tmp_path / "out"
    arguments = ["--workloads", "mlp=60", "--arms", "boost-as-method,lr-boost", "--budget", "quick", "--seeds", "2"]
    assert compare(out, *arguments, "--no-figures") == 0
    found = arm_of(out, "boost-as-method", "mlp")
    assert found["measures"]["work_ratio"]["value"] > 1.0
    assert found["judgement"]["over_control"]["value"] == pytest.approx(1.0)
    assert found["judgement"]["verdict"] == "no difference"


def test_tuning_spends_equal_trials_and_is_cached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine and three in the playoff, baseline and method alike; a second comparison runs none again."""
    arguments = ["--workloads", "regression=60", "--arms", "nesterov", "--budget", "quick", "--seeds", "1", "--tune"]
    cache = ["--tuning-cache", str(tmp_path / "cache"), "--no-figures"]
    assert run(["compare", "--out", str(tmp_path / "one"), *arguments, *cache]) == 0
    assert capsys.readouterr().err.count("-trial-") == 2 * (9 + 3)
    assert run(["compare", "--out", str(tmp_path / "two"), *arguments, *cache, "--json"]) == 0
    shown = capsys.readouterr()
    assert "-trial-" not in shown.err
    document = json.loads(shown.out)
    baseline = document["workloads"]["regression"]["baseline"]["tuned"]
    method = document["workloads"]["regression"]["arms"]["nesterov"]["tuned"]
    assert (baseline["source"], method["source"]) == ("cached", "cached")
    assert len(baseline["trials"]) == len(method["trials"]) == 9


def test_a_folder_is_not_overwritten(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --resume."""
    assert compare(calibrated, *REGRESSION) == 2
    assert "--resume" in capsys.readouterr().err


def test_resume_needs_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says that there is none."""
    assert compare(tmp_path / "none", "--resume") == 2
    assert "comparison.json: it is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--arms", "hybird"], ["--workloads", "mpl"], ["--budget", "tiny"], ["--seeds", "0"], ["--device", "toaster"]],
)
def test_nonsense_is_refused_before_anything_runs(tmp_path: Path, arguments: list[str]) -> None:
    """Usage, exit code 2, no folder."""
    assert compare(tmp_path / "out", *arguments) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--workloads", "mlp=20,nope=20"], 2, "workload 'nope' is unknown"),
        (["--workloads", "no_such_module:make=20"], 1, "no_such_module"),
        (["--workloads", "byte-gpt=20", "--data", "absent.txt"], 6, "absent.txt"),
        (["--workloads", "mlp=20", "--data", __file__], 2, "generates its own samples"),
        (["--workloads", "references.faulty_run:no_such=20"], 1, "no_such"),
    ],
)
def test_what_every_cell_would_fail_by_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """In one line, with the exit code of its kind, before there is a folder or a cell."""
    assert compare(tmp_path / "out", *arguments, "--arms", "self", "--seeds", "1") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


def tuned_to(cache: Path, lr_factor: float) -> None:
    """As an earlier comparison that tuned the baseline would have left it."""
    request = ComparisonRequest(workloads="regression=60", arms="frozen", budget="quick", seeds=1)
    plan = request.plan()
    tuned = Tuned(recipe=Recipe(lr_factor=lr_factor), source="tuned")
    TuningCache(cache).store(plan, plan.tasks[0], ARMS["baseline"], tuned)


@pytest.mark.parametrize(
    ("before", "after", "where"), [(None, 0.25, "here"), (0.5, None, "elsewhere"), (0.5, 0.25, "here")]
)
def test_a_resumed_comparison_keeps_its_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: float | None, after: float | None, where: str
) -> None:
    """From any folder, whatever was tuned meanwhile: no cell is run again, and a new seed has the same recipe."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    out = tmp_path / "here" / "out"
    if before is not None:
        tuned_to(Path("runs/tuning"), before)
    flags = ["--workloads", "regression=60", "--arms", "frozen", "--budget", "quick", "--seeds", "1", "--no-figures"]
    assert run(["compare", "--out", "out", *flags]) == 0
    first = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    if after is not None:
        tuned_to(Path("runs/tuning"), after)
    monkeypatch.chdir(tmp_path / where)
    assert run(["compare", "--resume", "--out", str(out), "--seeds", "2", "--no-figures"]) == 0
    cells = {path: json.loads(path.read_text())["cell"] for path in (out / "cells").iterdir()}
    assert len(cells) == 2 * len(first)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert {cell["recipe"]["lr_factor"] for cell in cells.values()} == {before or 1.0}
    assert not (tmp_path / "elsewhere" / "runs").exists()


def test_a_resumed_comparison_can_still_be_tuned(tmp_path: Path) -> None:
    """That it is asked for, later, is no accident: then the recipes are new ones."""
    out, flags = tmp_path / "out", ["--workloads", "regression=40", "--arms", "frozen", "--budget", "quick"]
    assert compare(out, *flags, "--seeds", "1", "--no-figures") == 0
    assert compare(out, "--resume", "--tune", "--no-figures") == 0
    baseline = summary_of(out)["workloads"]["regression"]["baseline"]["tuned"]
    assert (baseline["source"], len(baseline["trials"])) == ("tuned", 9)
    assert compare(out, "--resume", "--no-figures") == 0
    assert summary_of(out)["workloads"]["regression"]["baseline"]["tuned"] == baseline


def test_figures_of_the_users_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Among ours, in the folder that is drawn anew at every resume."""
    out, flags = tmp_path / "out", ["--workloads", "regression=20", "--arms", "frozen", "--budget", "quick"]
    assert compare(out, *flags, "--seeds", "1") == 0
    (out / "figures" / "mine.png").write_text("mine")
    assert compare(out, "--resume", "--seeds", "2") == 0
    assert (out / "figures" / "mine.png").read_text() == "mine"
    assert (out / "figures" / "ratios.png").exists()


def _cells(out: Path) -> list[Path]:
    return list((out / "cells").glob("*.json"))


def _stopped(out: Path, number: signal.Signals) -> int:
    """Begin a comparison in a process, stop it after its third cell, and return its status."""
    flags = ["--out", str(out), "--tuning-cache", str(out / "tuning"), "--no-figures"]
    words = ["compare", *REGRESSION, "--seeds", "1", *flags]
    process, until_s = FreshProcess("hpt.cli.main:run", [words], has_children=True), time.monotonic() + 120.0
    while len(_cells(out)) < 3 and time.monotonic() < until_s:
        time.sleep(0.02)
    os.kill(process.pid, number)
    return process.end().returncode


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_a_stop_loses_nothing_and_resume_ends_it(
    calibrated: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """Finished cells keep their files, only the others are run, and the losses are those of an undisturbed run."""
    out = tmp_path / "out"
    assert _stopped(out, number) == status
    time.sleep(0.2)
    before = {path.name: path.stat().st_mtime_ns for path in _cells(out)}
    assert 3 <= len(before) < 7
    assert compare(out, "--resume", "--no-figures") == 0
    after = {path.name: path for path in (out / "cells").iterdir()}
    assert len(after) == 7
    assert {name: after[name].stat().st_mtime_ns for name in before} == before
    for name, path in after.items():
        again, whole = (json.loads(one.read_text())["result"] for one in (path, calibrated / "cells" / name))
        assert (again["final_loss"], again["curve"]) == (whole["final_loss"], whole["curve"])


def test_a_failing_cell_is_told_and_the_status_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What could be measured is written, the rest is null."""
    out, name = tmp_path / "out", "references.deadly_workload:make"
    arguments = ["--workloads", f"{name}=20", "--arms", "frozen", "--seeds", "1", "--budget", "quick"]
    assert compare(out, *arguments) == 1
    assert "ended by signal 9" in capsys.readouterr().err
    assert summary_of(out)["workloads"][name]["baseline"] is None
    assert not summary_of(out)["complete"]


def test_a_file_in_the_folders_place_is_a_usage_error(tmp_path: Path) -> None:
    """Exit 2, as everywhere, and the file is left alone."""
    taken = tmp_path / "results"
    taken.write_text("mine")
    assert run(["compare", "--budget", "quick", "--out", str(taken)]) == 2
    assert taken.read_text() == "mine"
