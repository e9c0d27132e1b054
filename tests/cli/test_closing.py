"""The last three lines of a command: what is stored decides what they say, and the last is a command that runs."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from references.command_lines import assert_parses
from references.run_records import TRAINED

from hpt.bench.session import BenchResult
from hpt.bench.summary import BenchRow
from hpt.cli import bench_display, compare_display, train_closing, validate_display
from hpt.cli.closing import Closing, show_closing
from hpt.cli.console import result_console
from hpt.run.record import FAILED, INTERRUPTED

STORED = Path(__file__).parents[1] / "reports" / "data"
OUT = Path("runs/a b")
ROW = BenchRow(
    name="light/sort",
    unit="list",
    num_units=1,
    median_s=1.0,
    mean_s=1.0,
    std_s=0.01,
    p5_s=0.9,
    p95_s=1.1,
    num_values=30,
    num_processes=6,
    cv_frac=0.01,
    unit_cost_s=1.0,
    warm_up_s=0.0,
    marks=(),
    per_unit={},
)


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the lines name is there."""
    (tmp_path / OUT).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


def stored(name: str) -> dict[str, Any]:
    return json.loads((STORED / name).read_text())


def said(closing: Closing) -> str:
    """All three lines; the last is read by click."""
    words = shlex.split(closing.next)
    assert_parses(words[words.index("hpt") + 1 :])  # torchrun's words may come before it
    return f"{closing.result}\n{closing.meaning}\n{closing.next}"


def test_they_are_three_lines_on_any_screen() -> None:
    """A long line is not broken, so that it can be copied."""
    console = result_console()
    console.width = 40
    with console.capture() as capture:
        show_closing(Closing("r" * 60, "m [b]" * 30, "hpt " * 20), console)
    lines = capture.get().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Result", "Meaning", "Next"]
    assert lines[1].endswith("m [b]")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"counters": {"jumps_accepted": 8, "jumps_rolled_back": 3, "steps_covered_by_jumps": 90}},
            "5 jumps were kept",
        ),
        ({"counters": {"jumps_accepted": 2, "jumps_rolled_back": 1}}, "1 jump was kept"),
        ({"counters": {"jumps_accepted": 3, "jumps_rolled_back": 3}}, "No jump was kept. The result"),
        ({"config": {"predictor": "none"}}, "hpt train --workload byte-gpt --predictor rssm --steps 600 --seed 7"),
        ({"final_loss": 3.2}, "hpt train --resume 'runs/a b' --steps 1200"),
        ({"final_loss": float("nan"), "status": FAILED}, "--predictor none --steps 600 --seed 7"),
        ({"final_loss": None, "status": FAILED, "message": "the disk is full"}, "the disk is full."),
        ({"final_loss": None, "status": INTERRUPTED}, "hpt train --resume 'runs/a b'"),
        (
            {"final_loss": None, "status": INTERRUPTED, "environment": {"num_processes": 4, "num_nodes": 2}},
            "torchrun --nnodes 2 --nproc-per-node 2 -m hpt train --resume 'runs/a b'",
        ),
        ({"settings": {"steps": 600, "workload": "m:f", "dtype": "bf16"}}, "--workloads m:f=600 --arms hybrid,never"),
        ({"settings": {"steps": 600, "optimizer": "soap"}}, "--arms hybrid,never --optimizers soap --seeds 3"),
        (
            {"settings": {"steps": 600, "optimizer": "schedulefree"}, "config": {"predictor": "none"}},
            "--optimizers adamw,schedulefree",
        ),
    ],
)
def test_a_training_run(changes: dict[str, Any], expected: str) -> None:
    """Its loss beside that of a guess; whether jumps were kept, never that they paid; what would tell."""
    text = said(train_closing.closing_of(replace(TRAINED, **changes), OUT))
    assert expected in text
    assert "600 of 600 updates" in text


def test_a_benchmark_run() -> None:
    """Failures come before noise, and noise before the report."""
    noisy = replace(ROW, name="light/list", marks=("noisy",))
    for outcome, mode, expected in (
        (BenchResult((ROW, noisy), {"light/x": "it broke"}, is_interrupted=False), "default", "hpt bench light/x"),
        (BenchResult((ROW, noisy), {}, is_interrupted=True), "default", "hpt bench all --out 'runs/a b'"),
        (BenchResult((ROW, noisy), {}, is_interrupted=False), "default", "hpt bench all --rigorous"),
        (BenchResult((ROW, noisy), {}, is_interrupted=False), "rigorous", "Compare with care: light/list"),
        (BenchResult((ROW,), {}, is_interrupted=False), "default", "hpt report phase2"),
    ):
        text = said(bench_display.closing_of(outcome, OUT, ["all"], mode, None))
        assert expected in text
        assert f"{len(outcome.rows)} scenarios timed, 1 of them stable" in text


@pytest.mark.parametrize(
    ("verdicts", "num_out_of_memory", "expected"),
    [
        (("passed", "reported"), 0, "Every check that was made holds; nothing here was measured on a GPU."),
        (("passed", "failed"), 0, "Not as it should be: growth (too much)."),
        (("passed", "inconclusive"), 0, "hpt validate-vram --model gpt2-nano --steps 100"),
        (("passed", "failed"), 1, "--estimate --budget-gb 16"),
    ],
)
def test_a_validation(verdicts: tuple[str, str], num_out_of_memory: int, expected: str) -> None:
    """What failed with its evidence; what ran out of memory is estimated instead."""
    document = stored("vram/run.json")
    named = zip(("copies", "growth"), verdicts, strict=True)
    checks = [{"name": name, "verdict": verdict, "evidence": "too much"} for name, verdict in named]
    changes = {"checks": checks, "num_out_of_memory": num_out_of_memory}
    text = said(validate_display.closing_of(document | changes, OUT))
    assert expected in text
    assert "gpt2-nano on cpu" in text


def test_a_validation_of_several_processes() -> None:
    """Told, and the longer run that decides is of as many."""
    document = stored("vram/run.json")
    checks = [{"name": "growth", "verdict": "inconclusive", "evidence": ""}]
    settings = document["settings"] | {"processes": 2}
    text = said(validate_display.closing_of(document | {"checks": checks, "settings": settings}, OUT))
    assert "gpt2-nano on cpu, 2 processes an arm: " in text
    assert "hpt validate-vram --model gpt2-nano --processes 2 --steps 100" in text


def of_arm(name: str, **changes: Any) -> dict[str, Any]:
    """The stored comparison of which only one arm is there, and it alone is changed."""
    document = stored("compare/summary.json")
    for values in document["workloads"].values():
        values["arms"] = {name: values["arms"][name]}
    document["overall"] = {name: document["overall"][name] | changes}
    return document


def bracketed(document: dict[str, Any], *, closed: bool | None) -> dict[str, Any]:
    for values in document["workloads"].values():
        values["baseline"]["tuned"]["bracket_closed"] = closed
        for arm in values["arms"].values():
            if arm["tuned"] is not None:
                arm["tuned"]["bracket_closed"] = closed
    return document


@pytest.mark.parametrize(
    ("closed", "verdict", "expected"),
    [
        (True, "accelerates", "hpt report evaluation"),
        (True, "no difference", "--seeds 10"),
        (True, "hurts", "It hurts here (grounds)."),
        (False, "accelerates", "at the edge of what was tried, so this is no claim"),
        (None, "accelerates", "not tuned, so this is no claim"),
    ],
)
def test_a_comparison(*, closed: bool | None, verdict: str, expected: str) -> None:
    """An untuned gain is no claim; without a difference more seeds are proposed."""
    document = of_arm("hybrid", judgement={"verdict": verdict, "reason": "grounds"})
    document["settings"]["seeds"] = [0, 1, 2, 3, 4]
    text = said(compare_display.closing_of(bracketed(document, closed=closed), OUT))
    assert expected in text
    assert "hybrid on regression, mlp, 5 seeds: work ratio" in text
    assert "; no other optimizer was tried" in text


def test_a_comparison_without_a_result() -> None:
    """Nothing follows from cells that are missing, nor from arms whose ratio is known."""
    document = of_arm("hybrid")
    assert "nothing follows yet" in said(compare_display.closing_of(document | {"complete": False}, OUT))
    assert "no ratio was measured" in said(compare_display.closing_of(document | {"overall": {}}, OUT))
    assert "no method was compared" in said(compare_display.closing_of(of_arm("planted"), OUT))
