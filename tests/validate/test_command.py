"""`hpt validate-vram` end to end: what it prints, keeps and returns."""

import csv
import json
import re
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from hpt.cli.main import run
from hpt.validate.plan import ARMS, DRILLS

pytestmark = pytest.mark.processes

SMALL = ("--model", "gpt2-nano", "--device", "cpu", "--threads", "1", "--seq-len", "8")
ONE_ARM = ("--arms", "plain", "--drills", "none", "--steps", "3")


@pytest.fixture(scope="module")
def all_arms(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Exit code and folder of a validation as it is by default, but for the drills."""
    folder = tmp_path_factory.mktemp("vram") / "out"
    flags = ("--drills", "none", "--out", str(folder))
    return run(["validate-vram", *SMALL, *flags]), folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, str]:
    """Exit code, folder and stdout of a validation with one arm and three steps, in the folder of its estimate."""
    folder = tmp_path_factory.mktemp("vram")
    assert run(["validate-vram", "--model", "gpt2-nano", "--seq-len", "8", "--estimate", "--out", str(folder)]) == 0
    with redirect_stdout(StringIO()) as out:
        code = run(["validate-vram", *SMALL, *ONE_ARM, "--json", "--out", str(folder)])
    return code, folder, out.getvalue()


def _stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_all_arms_pass(all_arms: tuple[int, Path]) -> None:
    """Exit 0; every check that was judged passed, with its evidence."""
    code, folder = all_arms
    document = _stored(folder)
    judged = {check["name"]: check["verdict"] for check in document["checks"] if check["verdict"] != "reported"}
    assert set(judged.values()) == {"passed"}, document["checks"]
    assert {"copies", "growth", "forced cycle: hybrid", "peak is plain + trajectory + snapshot"} <= set(judged)
    assert (code, document["status"], document["verdict"]) == (0, "done", "passed")


def test_the_record_says_that_it_is_host_memory(all_arms: tuple[int, Path]) -> None:
    """In the first sentence, in the sources and in what each reading is: no GPU number anywhere."""
    document = _stored(all_arms[1])
    assert document["measures"].startswith("hpt validate-vram gpt2-nano: measuring host memory, not VRAM")
    assert any("GPU memory is not measured" in one for one in document["sources"])
    assert document["peak_method"] in {"VmHWM, reset", "resident set, sampled"}
    assert document["schema_version"] == 1


def test_a_row_a_call_with_empty_cells_for_what_was_not_read(all_arms: tuple[int, Path]) -> None:
    """All calls of all arms are in the table; GPU columns are empty, never 0."""
    folder = all_arms[1]
    rows = list(csv.DictReader((folder / "steps.csv").read_text().splitlines()))
    calls = {name: arm["num_calls"] for name, arm in _stored(folder)["arms"].items()}
    assert len(rows) == sum(calls.values())
    assert {row["allocated_bytes"] for row in rows} == {""}
    assert all(int(row["peak_bytes"]) >= int(row["process_bytes"]) - 2**20 for row in rows)
    assert {row["phase"] for row in rows} == {"WARMUP", "FULL", "PREDICT", "CORRECT"}


def test_the_picture_is_a_png(all_arms: tuple[int, Path]) -> None:
    """With the signature of the format."""
    assert (all_arms[1] / "memory.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_finished_folder_is_not_written_again(all_arms: tuple[int, Path], capfd: pytest.CaptureFixture[str]) -> None:
    """The second run into it is a usage error that names the ways out."""
    assert run(["validate-vram", *SMALL, "--out", str(all_arms[1])]) == 2
    assert "already holds a validation (done)" in capfd.readouterr().err


def test_a_plain_arm_may_be_short(short: tuple[int, Path, str]) -> None:
    """Without jumps three steps do: exit 0, one JSON document on stdout, everything else on stderr."""
    code, _, out = short
    assert code == 0
    assert json.loads(out)["arms"]["plain"]["num_calls"] == 3


def test_quiet_is_the_last_three_lines(
    short: tuple[int, Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a validation, here one that was stopped when all its jobs were done, and of an estimate; no stderr."""
    stopped = Path(shutil.copytree(short[1], tmp_path / "run"))
    (stopped / "run.json").write_text(json.dumps(_stored(stopped) | {"status": "running"}))
    assert run(["validate-vram", *SMALL, *ONE_ARM, "--quiet", "--out", str(stopped)]) == 0
    assert _stored(stopped)["status"] == "done"
    estimate = ("--estimate", "--seq-len", "8", "--quiet", "--out", str(tmp_path / "estimate"))
    assert run(["validate-vram", "--model", "gpt2-nano", *estimate]) == 0
    out, err = capfd.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == ["Result", "Meaning", "Next"] * 2
    assert err == ""


def test_a_validation_goes_where_its_estimate_is(short: tuple[int, Path, str]) -> None:
    """Both lie in the same folder by default, in any order; that is no foreign one."""
    _, folder, _ = short
    assert run(["validate-vram", "--model", "gpt2-nano", "--seq-len", "8", "--estimate", "--out", str(folder)]) == 0
    assert {"estimate.json", "run.json"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--device", "cuda:7"), 6, "not available on this machine"),
        (("--device", "teapot"), 2, "torch does not know"),
        (("--arms", "plain,fancy"), 2, "choose from"),
        (("--model", "gpt5"), 2, "choose from"),
        (("--budget-gb", "16"), 2, "--estimate"),
        (("--dtype", "fp8"), 2, "fp8"),
        (("--steps", "3"), 2, "needs 49"),
        (("--steps", "48", "--arms", "no-cleanup"), 2, "needs 49"),
        (("--processes", "0"), 2, "0 is not in the range"),
        (("--processes", "2", "--device", "cuda:7"), 6, "not available on this machine"),
        (("--threads", "100000"), 2, "100000 is not in the range"),
        (("--estimate", "--budget-gb", "nan"), 2, "not a finite number"),
        (("--estimate", "--budget-gb", "inf"), 2, "not in the range"),
        (("--estimate", "--budget-gb", "1e300"), 2, "not in the range"),
        (("--seed", "1" + "0" * 30), 2, "not in the range"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], code: int, said: str
) -> None:
    """Before anything runs, with the exit code of its kind."""
    out = tmp_path / "out"
    assert run(["validate-vram", "--model", "gpt2-nano", "--out", str(out), *flags]) == code
    assert said in capfd.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(("budget", "code"), [("2", 0), ("0.6", 3)])
def test_an_estimate_answers_whether_it_fits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], budget: str, code: int
) -> None:
    """2 GiB hold the tiny model in fp32; 0.6 GiB are the context alone, and nothing fits."""
    flags = ("--seq-len", "8", "--batch-size", "2", "--estimate", "--budget-gb", budget, "--json")
    assert run(["validate-vram", "--model", "gpt2-nano", *flags, "--out", str(tmp_path)]) == code
    document = json.loads(capfd.readouterr().out)
    assert document["plans"]["fits"] == (code == 0)
    assert document["estimate"]["ratio"] <= 1.10
    expected = "gpt2-nano fits at sequence 8: in fp32" if code == 0 else "gpt2-nano does not fit"
    assert document["plans"]["answer"].startswith(expected)


def test_the_smallest_device_that_is_named_is_accepted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What one budget is told to be too small for, the next budget, taken from the answer, fits."""
    words = ["validate-vram", "--model", "gpt2-nano", "--seq-len", "8", "--estimate", "--out", str(tmp_path), "--json"]
    assert run([*words, "--budget-gb", "0.5"]) == 3
    plans = json.loads(capfd.readouterr().out)["plans"]
    assert all(one["is_bound"] for one in plans["tried"])  # nothing had been estimated
    named = re.findall(r"smallest device for it is ([\d.]+) GiB", plans["answer"])
    assert run([*words, "--budget-gb", *named]) == 0


@pytest.mark.slow
def test_the_whole_validation_of_the_tiny_model_passes(tmp_path: Path) -> None:
    """All arms and all drills."""
    code = run(["validate-vram", "--model", "gpt2-nano", "--device", "cpu", "--threads", "1", "--out", str(tmp_path)])
    document = _stored(tmp_path)
    assert set(document["arms"]) == set(ARMS)
    assert set(document["drills"]) == set(DRILLS)
    assert [check for check in document["checks"] if check["verdict"] in {"failed", "inconclusive"}] == []
    assert code == 0
