"""Every command in a folder with somebody else's files: refused by name before it measures, bytes as before."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hpt.cli.main import run

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "train": ["train", "--workload", "regression", "--steps", "5", "--out"],
    "bench": ["bench", "weight_delta/apply", "--fast", "--out"],
    "compare": ["compare", "--workloads", "regression=20", "--arms", "frozen", "--seeds", "1", "--out"],
    "validate": ["validate-vram", "--model", "gpt2-nano", "--steps", "1", "--arms", "plain", "--out"],
    "estimate": ["validate-vram", "--model", "gpt2-nano", "--estimate", "--out"],
    "report": ["report", "all", "--runs", ".", "--out"],
}
THEIRS = {
    "train": ("steps.jsonl", "checkpoints/step-00000005.safetensors"),
    "bench": ("bench.json", "scenarios/mine.json"),
    "compare": ("summary.json", "figures/mine.png"),
    "validate": ("memory.png", "steps.csv"),
    "estimate": ("estimate.json", "notes.txt"),
    "report": ("index.md", "figures/mine.svg"),
}


def put(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_folder_of_somebody_else_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, through_a_link: bool
) -> None:
    """Exit code 2, the first file's name and a remedy, one line; no file more and none less, not even a lock."""
    put(folder / "paper", THEIRS[name])
    if through_a_link:
        Path("link").symlink_to("paper")
    assert run([*COMMANDS[name], "link" if through_a_link else "paper"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert THEIRS[name][0].partition("/")[0] in line
    assert "choose another --out" in line
    there = {path.relative_to("paper").as_posix(): path.read_text() for path in Path("paper").rglob("*.*")}
    assert there == dict.fromkeys(THEIRS[name], "mine")


@pytest.mark.parametrize("out", ["results.json", "deep/folder"])
@pytest.mark.parametrize("kind", ["profile", "overhead"])
def test_profile_replaces_no_other_document(
    folder: Path, capsys: pytest.CaptureFixture[str], out: str, kind: str
) -> None:
    """Whether --out names the file or its folder."""
    path = Path(out) if out.endswith(".json") else Path(out, f"{kind}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"accuracy": 0.91}')
    flags = ["--overhead"] if kind == "overhead" else []
    assert run(["profile", "--workload", "regression", *flags, "--out", out]) == 2
    assert f"is no {kind} of hpt" in capsys.readouterr().err
    assert json.loads(path.read_text()) == {"accuracy": 0.91}


def test_profile_finds_a_place_that_cannot_be_written_before_it_measures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, and not after minutes: a workload that does not exist would be refused next."""
    assert run(["profile", "--workload", "no such", "--out", "/proc/nowhere"]) == 6
    assert "cannot be written" in capsys.readouterr().err


def test_a_baseline_replaces_no_other_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of that name among the baselines, before anything is measured."""
    put(folder, ["runs/baselines/before.json"])
    assert run(["bench", "weight_delta/apply", "--save-baseline", "before"]) == 2
    assert "before.json: it is not JSON" in capsys.readouterr().err
    assert Path("runs/baselines/before.json").read_text() == "mine"


def test_a_release_record_replaces_no_other_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any step is run."""
    put(folder, ["record.json"])
    monkeypatch.chdir(ROOT)
    places = ["--out", str(folder / "record.json"), "--work", str(folder / "work")]
    assert run(["release-check", "--steps", "changelog", *places]) == 2
    assert "is no release-check of hpt" in capsys.readouterr().err
    assert (folder / "record.json").read_text() == "mine"
    assert not (folder / "work").exists()
