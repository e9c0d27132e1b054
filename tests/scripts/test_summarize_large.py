"""A summary of runs whose files are gone is a summary still, and newer runs join it."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRIAL_SEED = 99

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "scripts")  # as for a script that is called
    SCRIPT = runpy.run_path(str(ROOT / "scripts" / "summarize_large.py"))
rows_of, runs_in, trials_of = (SCRIPT[name] for name in ("rows_of", "runs_in", "trials_of"))


@pytest.fixture
def summary() -> dict[str, Any]:
    """The one in the project's evidence."""
    return json.loads((ROOT / "reports" / "evidence" / "large.json").read_text(encoding="utf-8"))


def test_the_runs_of_a_summary_summarize_to_it_but_for_what_the_default_trainer_chose(summary: dict[str, Any]) -> None:
    """Losses by seed, worth, jumps, longer runs and rates; the choice belongs to the code that made it."""
    runs = runs_in(summary)
    expected = [
        row | {"policies": [one for one in row["policies"] if one["policy"] != "default"]} for row in summary["rows"]
    ]
    assert expected != summary["rows"], "the summary tells of a default trainer"
    assert rows_of([run for run in runs if run["cell"]["seed"] < TRIAL_SEED]) == expected
    assert trials_of([run for run in runs if run["cell"]["seed"] >= TRIAL_SEED]) == summary["trials"]


def test_a_run_that_came_later_replaces_what_the_summary_says(summary: dict[str, Any]) -> None:
    """The same seed and policy, another loss; nothing else changes."""
    runs = [run for run in runs_in(summary) if run["cell"]["seed"] < TRIAL_SEED]
    later = runs[0] | {"final_loss": runs[0]["final_loss"] + 0.125}
    (row, *others), before = rows_of([*runs, later]), rows_of(runs)
    assert row["policies"][0]["losses"]["0"] == before[0]["policies"][0]["losses"]["0"] + 0.125
    assert row["policies"][1]["losses"] == before[0]["policies"][1]["losses"]
    assert others == before[1:]
