"""SIGKILL at any moment, --resume, and the rest of the run is what it would have been, to the last bit."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from references.fresh_process import run_fresh

pytestmark = pytest.mark.processes

STEPS = 90
CONFIG = """
predictor = "rssm"
gate = "always"
full_steps = 10
warmup_steps = 20
[checkpoint]
save_interval = 7
"""


def hpt(arguments: list[str], die_at: int = 0) -> int:
    """`hpt train` in a process of its own."""
    done = run_fresh("hpt.cli.main:run", ["train", *arguments], environment={"HPT_TEST_DIE_AT": str(die_at)})
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stderr)
    return done.returncode


def begin(out: Path, config: Path) -> list[str]:
    workload = ["--workload", "references.mortal_workload:factory", "--steps", str(STEPS), "--threads", "1"]
    return [*workload, "--seed", "3", "--config", str(config), "--out", str(out)]


def steps_of(out: Path) -> list[dict[str, Any]]:
    """What every call brought, without the clock."""
    lines = (out / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [{key: value for key, value in record.items() if key != "wall_s"} for record in records]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    assert hpt(begin(folder / "run", folder / "config.toml")) == 0
    return folder


def forward_inside(steps: list[dict[str, Any]], phase: str, which: int) -> int:
    """Number of the forward pass that falls inside the `which`-th call of a phase (its second one in PREDICT)."""
    forwards, seen = 0, 0
    for step in steps:
        mine = 2 if step["phase"] == "PREDICT" else max(1, step["num_backward"])
        if step["phase"] == phase:
            seen += 1
            if seen == which:
                return forwards + mine
        forwards += mine
    raise AssertionError(f"fewer than {which} calls in {phase}")


PLACES = ["random-1", "random-2", "PREDICT", "CORRECT"]


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_run_resumes_bit_for_bit(place: str, uninterrupted: Path, tmp_path: Path) -> None:
    """No call is lost, none is there twice, and every loss equals the uninterrupted run's."""
    expected = steps_of(uninterrupted / "run")
    assert {step["phase"] for step in expected} == {"WARMUP", "FULL", "PREDICT", "CORRECT"}
    if place.startswith("random"):
        die_at = random.Random(place).randrange(25, 80)
    else:
        die_at = forward_inside(expected, place, 2)
    out = tmp_path / "run"
    assert hpt(begin(out, uninterrupted / "config.toml"), die_at) == -signal.SIGKILL
    assert len(steps_of(out)) < len(expected)
    assert hpt(["--resume", str(out)]) == 0
    assert steps_of(out) == expected
    mine, other = (json.loads((path / "run.json").read_text()) for path in (out, uninterrupted / "run"))
    for key in ("counters", "phases", "final_loss", "confidence"):
        assert mine[key] == other[key]
