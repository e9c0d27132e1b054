"""The command shown for a comparison that was finished by continuing it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from hpt.cli.compare import compare
from hpt_reports.begun import beginning
from hpt_reports.evidence import gather

RESUMED = "hpt compare --resume --jobs 2 --out runs/again --no-figures"


@pytest.fixture
def resumed(runs: Path) -> dict[str, Any]:
    """Finished by a command that names its folder alone."""
    return json.loads((runs / "compare" / "summary.json").read_text()) | {"command": RESUMED}


def parsed(command: str) -> dict[str, Any]:
    """What the command line takes it for."""
    return compare.make_context("compare", shlex.split(command)[2:]).params


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {"workloads": "regression=200,mlp=300", "seeds": 2, "resume": False, "out": "runs/again"}),
        ({"seeds": [7, 8]}, {"first_seed": 7, "seeds": 2}),
        ({"device": "cuda", "dtype": "bf16", "threads": 2}, {"device": "cuda", "dtype": "bf16", "threads": 2}),
        ({"optimizers": ["adamw", "muon"], "data": "notes"}, {"optimizers": "adamw,muon", "data": "notes"}),
        ({"arms": ["baseline", "hybrid", "never"]}, {"arms": "hybrid,never"}),
    ],
)
def test_it_asks_for_all_that_was_asked_for(
    resumed: dict[str, Any], settings: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """As the command line itself reads it."""
    found = parsed(beginning(resumed | {"settings": resumed["settings"] | settings}))
    assert {name: found[name] for name in wanted} == wanted


def test_workloads_that_a_budget_has_by_itself_are_not_named(resumed: dict[str, Any]) -> None:
    """The line stays short."""
    tasks = [
        {"workload": "mlp", "steps": 2000},
        {"workload": "cnn", "steps": 600},
        {"workload": "regression", "steps": 600},
    ]
    line = beginning(resumed | {"settings": resumed["settings"] | {"tasks": tasks, "budget": "quick"}})
    assert "--workloads" not in line


def test_a_tuned_comparison_is_tuned(resumed: dict[str, Any]) -> None:
    """Recipes that were searched for, or taken from a search that was stored."""
    arms = [arm for workload in resumed["workloads"].values() for arm in workload["arms"].values()]
    for source, is_tuned in (("tuned", True), ("cached", True), ("default", None)):
        for arm in arms:
            arm["tuned"] = {"source": source}
        assert parsed(beginning(resumed))["tune"] is is_tuned


def test_a_command_that_says_all_is_left_as_it_is(resumed: dict[str, Any]) -> None:
    """Its own words."""
    assert beginning(resumed | {"command": "hpt compare --workloads mlp"}) == "hpt compare --workloads mlp"


def test_reports_show_it(runs: Path) -> None:
    """Wherever they name the command of a run."""
    file = runs / "compare" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"command": shlex.split(RESUMED)}))
    (found,) = gather(file.parent).sources
    assert "--resume" not in found.provenance.command
    assert found.provenance.command.endswith("--out runs/again")
