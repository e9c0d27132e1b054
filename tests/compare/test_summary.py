"""From cells to document, tables and figures, on made-up cells with known ratios."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from references.known_results import LENGTHS, SEEDS, T, loss_of, make_result

from hpt.compare.arms import BASELINE
from hpt.compare.cells import CellFolder, Recipe
from hpt.compare.figures import draw_all
from hpt.compare.peers import ONLY, Best
from hpt.compare.plan import ComparisonPlan
from hpt.compare.readings import fork_values, read
from hpt.compare.roster import ARMS
from hpt.compare.search import UNTUNED, Tuned
from hpt.compare.suite import Task
from hpt.compare.summary import Circumstances, summarize
from hpt.compare.tables import sentences_of, tables_of, to_csv, to_markdown
from hpt.compare.tuning import TunedSettings, recipes_of
from hpt.optimizers.catalogue import OWN

TRUE = {"hybrid": 1.3, "unlearned": 1.25, "lr-boost": 1.1, "frozen": 0.99, "self": 1.0}
TASKS = (Task("mlp", T), Task("cnn", T))
ABOUT = Circumstances(
    command=["hpt", "compare"],
    finished_at="2026-01-01T00:00:00+00:00",
    budget="quick",
    jobs=1,
    failed={},
    complete=True,
)
PLAN = ComparisonPlan(
    tasks=TASKS,
    arms=tuple(ARMS[name] for name in (BASELINE, *TRUE)),
    seeds=SEEDS,
    length_fracs=tuple(steps / T for steps in LENGTHS),
)
BESTS = {task.workload: Best(OWN, ONLY) for task in TASKS}
CLOSED = Tuned(recipe=Recipe(), source="tuned", bracket_closed=True)
SCORES = {"rssm": {"nll_mean": 0.5, "count": 3}, "constant": {"nll_mean": 0.4, "count": 3}}
FORK = {
    "step": 200,
    "num_steps": 100,
    "num_jumps": 3,
    "policy": "half",
    "value": 0.003,
    "value_se": 0.001,
    "goes_on": True,
}
BROKEN = FORK | {"policy": "full", "value": "-inf", "goes_on": False}
DECISION = {
    "step": 200,
    "progress": 0.2,
    "policy": "half",
    "means": {"half": 0.1},
    "sds": {"half": 0.02},
    "why": "half: it pays",
}
LEARNED = {"scores": SCORES, "forks": [FORK, BROKEN], "values": {"decisions": [DECISION]}}
TABLE = [{"low": 0.5, "count": 4, "mean_probability": 0.6, "frequency": 0.75}]


def settings(tuned: Tuned = CLOSED) -> TunedSettings:
    return {(task.workload, name): tuned for task in TASKS for name in (BASELINE, "hybrid")}


def fill(folder: CellFolder, arms: dict[str, float]) -> None:
    """Store cells whose arms have these ratios."""
    recipes = recipes_of(PLAN, BESTS, settings())
    noise = dict(zip(SEEDS, (0.001, -0.001, 0.0005, 0.0), strict=True))
    for task in TASKS:
        for (steps, seed), cell in PLAN.alone_cells(task, OWN, recipes).items():
            folder.store(cell, make_result(loss_of(steps, seed), steps))
        for name, ratio in arms.items():
            for seed, cell in PLAN.arm_cells(task, ARMS[name], recipes).items():
                learned = LEARNED if name == "hybrid" else {}
                result = make_result(loss_of(ratio * T, seed) + noise[seed], T, confidence={"table": TABLE}, **learned)
                folder.store(cell, result)


def summary_of(folder: CellFolder, tuned: Tuned = CLOSED) -> dict[str, Any]:
    found = settings(tuned)
    return summarize(PLAN, found, read(PLAN, BESTS, found, folder), ABOUT)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = CellFolder(tmp_path_factory.mktemp("cells"))
    fill(folder, TRUE)
    return summary_of(folder)


def test_known_ratios_come_out(summary: dict[str, Any]) -> None:
    """By workload, and as geometric means over workloads."""
    for name, ratio in TRUE.items():
        for task in TASKS:
            measures = summary["workloads"][task.workload]["arms"][name]["measures"]
            assert measures["work_ratio"]["value"] == pytest.approx(ratio, rel=0.01)
            assert measures["work_ratio"]["low"] <= ratio <= measures["work_ratio"]["high"]
        assert summary["overall"][name]["work_ratio"]["value"] == pytest.approx(ratio, rel=0.01)


def test_verdicts_follow(summary: dict[str, Any]) -> None:
    """1.3 beats the baseline and a control of 1.1; a calibration finds its ratio."""
    arms = summary["workloads"]["mlp"]["arms"]
    assert arms["hybrid"]["judgement"]["verdict"] == "accelerates"
    assert arms["hybrid"]["judgement"]["best_control"] == "lr-boost"
    assert arms["hybrid"]["judgement"]["over_control"]["value"] == pytest.approx(1.3 / 1.1, rel=0.01)
    assert arms["hybrid"]["claim"]
    assert arms["self"]["finds_known_ratio"]
    assert summary["overall"]["hybrid"]["judgement"]["verdict"] == "accelerates"


def test_without_a_closed_bracket_there_is_no_claim(tmp_path: Path) -> None:
    """The verdict stands, the sentence says what it lacks."""
    folder = CellFolder(tmp_path)
    fill(folder, TRUE)
    found = summary_of(folder, UNTUNED)["workloads"]["mlp"]["arms"]["hybrid"]
    assert (found["judgement"]["verdict"], found["claim"]) == ("accelerates", False)
    assert "not tuned" in found["sentence"]


def test_cells_kept_when_the_code_changed_are_told_from_those_measured_since(tmp_path: Path) -> None:
    """By workload and arm; an arm is named for both where it has cells of both."""
    folder = CellFolder(tmp_path)
    fill(folder, {"hybrid": 1.3})
    for cell in PLAN.arm_cells(TASKS[0], ARMS["hybrid"], recipes_of(PLAN, BESTS, settings())).values():
        result = make_result(1.0, T)
        folder.store(cell, replace(result, environment=result.environment | {"sources": {"jump": "0" * 16}}))
    kept, since = sorted(summary_of(folder)["code"], key=lambda row: "jump" in row["sources"])
    assert kept["runs"] == {"mlp": ["baseline"], "cnn": ["baseline", "hybrid"]}
    assert since == {"sources": {"jump": "0" * 16}, "runs": {"mlp": ["hybrid"]}}


def test_an_arm_without_cells_is_not_measured(tmp_path: Path) -> None:
    """Null, not zero; and it is not part of the overall table."""
    folder = CellFolder(tmp_path)
    fill(folder, {"lr-boost": 1.1})
    found = summary_of(folder)
    assert found["workloads"]["mlp"]["arms"]["hybrid"]["measures"] is None
    assert "not measured" in found["workloads"]["mlp"]["arms"]["hybrid"]["sentence"]
    assert "hybrid" not in found["overall"]
    assert "not measured" in to_markdown(tables_of(found), sentences_of(found))


def test_no_cells_at_all_are_no_error(tmp_path: Path) -> None:
    """Everything is null."""
    found = summary_of(CellFolder(tmp_path))
    assert found["workloads"]["mlp"]["baseline"] is None
    assert found["overall"] == {}
    assert tables_of(found)


def test_the_document_is_strict_json_and_enough_for_all_output(summary: dict[str, Any], tmp_path: Path) -> None:
    """Tables and figures from what was read back are those from the original."""
    again = json.loads(json.dumps(summary, allow_nan=False))
    assert to_markdown(tables_of(again), sentences_of(again)) == to_markdown(tables_of(summary), sentences_of(summary))
    files = draw_all(again, tmp_path)
    assert {path.name for path in files} == {"loss-mlp.png", "loss-cnn.png", "ratios.png", "reliability.png"}
    first = [path.read_bytes() for path in files]
    assert [path.read_bytes() for path in draw_all(summary, tmp_path)] == first


def test_csv_has_a_line_a_seed(summary: dict[str, Any]) -> None:
    """Of every arm and workload, with its ratio."""
    rows = list(csv.DictReader(io.StringIO(to_csv(summary))))
    assert len(rows) == len(TASKS) * len(TRUE) * len(SEEDS)
    first = next(row for row in rows if (row["workload"], row["arm"], row["seed"]) == ("mlp", "hybrid", "3"))
    assert float(first["work_ratio"]) == pytest.approx(1.3, rel=0.01)


def test_reliability_is_summed_over_seeds(summary: dict[str, Any]) -> None:
    """Four seeds with four outcomes in one bin."""
    (row,) = summary["workloads"]["mlp"]["arms"]["hybrid"]["reliability"]
    assert row == pytest.approx({"low": 0.5, "count": 16, "mean_confidence": 0.6, "good_frac": 0.75})


def test_what_learning_adds_is_told(summary: dict[str, Any]) -> None:
    """The ratio over the same arm without its models, seed by seed; scores, forks and decisions of all seeds."""
    arms = summary["workloads"]["mlp"]["arms"]
    assert set(arms["hybrid"]["over"]) == {"unlearned"}
    assert arms["hybrid"]["over"]["unlearned"]["value"] == pytest.approx(1.3 / 1.25)
    assert arms["hybrid"]["forecasts"]["constant"]["nll_mean"] == pytest.approx(0.4)
    assert arms["hybrid"]["forecasts"]["rssm"]["count"] == 3 * len(SEEDS)
    assert arms["hybrid"]["jump_values"]["value_mean"] == pytest.approx(0.003)
    assert arms["hybrid"]["jump_values"]["forks"] == [{"seed": seed, **one} for seed in SEEDS for one in (FORK, BROKEN)]
    assert arms["hybrid"]["decisions"] == [{"seed": seed, **DECISION} for seed in SEEDS]
    assert (arms["unlearned"]["jump_values"], arms["unlearned"]["decisions"]) == (None, None)
    assert (arms["unlearned"]["over"], arms["lr-boost"]["over"], arms["lr-boost"]["forecasts"]) == (None, None, None)


def test_the_learning_table_names_the_best_forecaster(summary: dict[str, Any]) -> None:
    """The least negative log-likelihood, and what was not measured is said to be so."""
    table = next(one for one in tables_of(summary) if one.title == "what learning adds")
    row = next(row for row in table.rows if row[:2] == ("mlp", "hybrid"))
    assert dict(zip(table.head, row, strict=True)) == {
        "workload": "mlp",
        "arm": "hybrid",
        "over nesterov": "not measured",
        "over unlearned": row[3],
        "over never": "not measured",
        "best forecast": "constant, 0.400 nats",
        "value of a jump": "+0.00300 (8 forks)",
    }
    assert row[3].startswith("1.040x [")


def test_branches_that_broke_down_have_no_mean(summary: dict[str, Any]) -> None:
    """The mean is of those that held; where none did, the table says so."""
    values = fork_values({0: make_result(1.0, T, forks=[BROKEN])})
    assert values is not None
    assert values["value_mean"] is None
    again = json.loads(json.dumps(summary))
    again["workloads"]["mlp"]["arms"]["hybrid"]["jump_values"] = values
    table = next(one for one in tables_of(again) if one.title == "what learning adds")
    row = next(row for row in table.rows if row[:2] == ("mlp", "hybrid"))
    assert row[table.head.index("value of a jump")] == "every branch broke down (1 fork)"


def test_models_that_add_nothing_do_not_forecast_best(summary: dict[str, Any]) -> None:
    """They tie with the constant, and the table names the constant."""
    again = json.loads(json.dumps(summary))
    again["workloads"]["mlp"]["arms"]["hybrid"]["forecasts"] = {
        name: {"nll_mean": 0.4, "by_seed": {}, "count": 3} for name in ("rssm", "constant")
    }
    table = next(one for one in tables_of(again) if one.title == "what learning adds")
    row = next(row for row in table.rows if row[:2] == ("mlp", "hybrid"))
    assert row[table.head.index("best forecast")] == "constant, 0.400 nats"


def test_reading_results_needs_no_torch() -> None:
    """Reports import these modules."""
    code = (
        "import sys, hpt.compare.comparison, hpt.compare.tables, hpt.compare.figures, hpt.cli.compare; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
