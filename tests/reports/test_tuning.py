"""What the reports say of a comparison's settings: tuned, open bracket, not tuned."""

import json
from pathlib import Path
from typing import Any

import pytest
from references.markdown_tables import cells_of
from references.stored_comparisons import DATA, comparison, stored_as

from hpt_reports import step_time
from hpt_reports.evidence import gather
from hpt_reports.figures.comparison import draw_losses, draw_ratios
from hpt_reports.kinds import PROFILE
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation
from hpt_reports.tuning import bracket

LINKS = Links(runs="", pages="")


def page_of(folder: Path, **documents: dict[str, Any]) -> Page:
    return evaluation.build(stored_as(folder, **documents), LINKS)


def trials(**losses: float | None) -> list[dict[str, Any]]:
    """At the learning rates 1, 2 and 4."""
    rates = {"one": 1.0, "two": 2.0, "four": 4.0}
    return [{"lr_factor": rates[name], "shape": "linear", "memory": None, "loss": one} for name, one in losses.items()]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"one": 1.0, "two": 2.0, "four": 3.0}, "open below"),
        ({"one": 3.0, "two": 2.0, "four": 1.0}, "open above"),
        ({"one": 3.0, "two": 2.0, "four": None}, "open"),
        ({"one": None, "two": None}, "open, every trial diverged"),
        ({"two": 2.0}, "open below and above"),
    ],
)
def test_an_open_bracket_says_on_which_side(losses: dict[str, float | None], expected: str) -> None:
    """By where the best learning rate lies among those tried."""
    assert bracket({"source": "tuned", "bracket_closed": False, "trials": trials(**losses)}) == expected


def test_trials_of_other_settings_are_no_side_of_the_bracket() -> None:
    """A cosine schedule at a lower rate closes nothing."""
    cosine = {"lr_factor": 0.5, "shape": "cosine", "memory": None, "loss": 9.0}
    found = [*trials(one=1.0, two=2.0), cosine]
    assert bracket({"source": "tuned", "bracket_closed": False, "trials": found}) == "open below"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("closed", "Tuned baseline:"),
        ("open", "Baseline, learning-rate bracket open:"),
        ("untuned", "Baseline, not tuned:"),
    ],
)
def test_a_workload_names_its_baseline_as_it_was_tuned(tmp_path: Path, how: str, expected: str) -> None:
    """The line before its numbers."""
    (section,) = page_of(tmp_path, one=comparison(baseline=how)).values["comparisons"]
    assert section["workloads"][0]["baseline"].startswith(expected)


@pytest.mark.parametrize(("how", "is_tuned"), [("closed", True), ("open", False), ("untuned", False)])
def test_figures_speak_of_a_tuned_baseline_only_where_it_was(tmp_path: Path, how: str, is_tuned: bool) -> None:
    """Title, description and data of the ratios, and the baseline's name among the losses."""
    (source,) = stored_as(tmp_path, one=comparison(baseline=how)).sources
    ratios, losses = draw_ratios(source, "x"), draw_losses(source, "mlp", "x")
    assert ratios is not None
    assert losses is not None
    assert ("tuned baseline" in ratios.title, "tuned baseline" in ratios.alt) == (is_tuned, is_tuned)
    assert ("tuned baseline" in losses.alt, "tuned baseline" in losses.csv) == (is_tuned, is_tuned)


def test_a_figure_of_mixed_baselines_marks_the_rows(tmp_path: Path) -> None:
    """The title cannot say it for all."""
    document = comparison()
    document["workloads"]["cnn"] = comparison(baseline="open")["workloads"]["mlp"]
    (source,) = stored_as(tmp_path, one=document).sources
    ratios = draw_ratios(source, "x")
    assert ratios is not None
    names = [line.split(",")[0] for line in ratios.csv.splitlines()]
    assert {"mlp: hybrid", "cnn: hybrid (bracket open)", "all workloads: hybrid (bracket open)"} <= set(names)


def test_both_sides_settings_are_listed(tmp_path: Path) -> None:
    """Workload, arm, learning rate, schedule, memory, bracket, trials, and where they are from."""
    (section,) = page_of(tmp_path, one=comparison(hybrid="untuned")).values["comparisons"]
    rows = [cells_of(line)[:8] for line in section["tuning"].splitlines()[2:]]
    memory = "the workload's"
    assert rows == [
        ["mlp", "baseline", "x 1.41", "cosine", memory, "closed on both sides", "9", "cached"],
        ["mlp", "hybrid", "x 1.00", "linear", memory, "not tuned", "0", "workload"],
    ]


@pytest.mark.parametrize(
    ("how", "verdict", "expected"),
    [
        ("closed", "accelerates", "reached"),
        ("open", "accelerates", "reported"),
        ("untuned", "accelerates", "reported"),
        ("untuned", "hurts", "missed"),
    ],
)
def test_a_speed_up_over_an_untuned_baseline_is_no_success(
    tmp_path: Path, how: str, verdict: str, expected: str
) -> None:
    """It is reported; harm stays harm."""
    document = comparison(baseline=how, name="byte-gpt-variant")
    document["workloads"]["byte-gpt-variant"]["arms"]["hybrid"]["judgement"]["verdict"] = verdict
    found = page_of(tmp_path, one=document).verdicts
    assert [one.word for one in found if one.what.startswith("hybrid on byte-gpt-variant")] == [expected]


def test_the_summary_keeps_what_counts_apart_from_what_does_not(tmp_path: Path) -> None:
    """A ratio against an untuned baseline stands after the others, with what it lacks."""
    variant = comparison(name="byte-gpt-variant", baseline="untuned", hybrid="untuned", value=1.9)
    line = page_of(tmp_path, one=comparison(), two=variant, three=comparison(name="cnn", hybrid="open")).summary[1]
    counts, rest = line.split("; held against no target, and no other optimizer was tried there: ")
    assert ("mlp 1.40x" in counts, "variant" in counts, "cnn" in counts) == (True, False, False)
    assert "byte-gpt-variant 1.90x (baseline not tuned, arm not tuned)" in rest
    assert "cnn 1.40x (arm learning-rate bracket open)" in rest


def test_the_check_workload_is_labelled(tmp_path: Path) -> None:
    """It is shown, as what it is."""
    (section,) = page_of(tmp_path, one=comparison(name="byte-gpt-variant")).values["comparisons"]
    assert section["workloads"][0]["kind"].startswith("A check workload")


@pytest.mark.parametrize(("how", "expected"), [("closed", True), ("open", False), ("untuned", False)])
def test_comparisons_with_tuned_baselines_are_missing_where_none_is(tmp_path: Path, how: str, expected: bool) -> None:
    """The page's heading for them says "not measured" then."""
    assert page_of(tmp_path, one=comparison(baseline=how)).values["has_tuned"] is expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("closed", "wall-clock ratio to the tuned baseline"),
        ("untuned", "wall-clock ratio to the baseline, not tuned"),
        (None, "wall-clock ratio to the baseline, whose tuning is not stored"),
    ],
)
def test_a_profile_names_the_baseline_of_the_comparison_it_used(tmp_path: Path, how: str | None, expected: str) -> None:
    """Known by its numbers, as the path that the profile keeps is of another day."""
    document = json.loads((DATA / "profile.json").read_text())
    document["speed"] |= {"steps_ratio": 1.23, "wall_ratio": None, "source": "runs/compare/summary.json"}
    (tmp_path / "profile.json").write_text(json.dumps(document))
    if how is not None:
        found = comparison(baseline=how)
        found["workloads"]["mlp"]["arms"]["hybrid"]["measures"]["steps_ratio"]["value"] = 1.23
        stored_as(tmp_path, one=found)
    evidence = gather(tmp_path)
    (source,) = evidence.of(PROFILE)
    assert f"| {expected} " in step_time.profile(source, LINKS, evidence)["model"]


def test_a_profile_takes_no_other_comparison_for_its_own(tmp_path: Path) -> None:
    """None of the stored arms has its numbers."""
    document = json.loads((DATA / "profile.json").read_text())
    document["speed"] |= {"steps_ratio": 1.23, "wall_ratio": None, "source": "--steps-ratio"}
    (tmp_path / "profile.json").write_text(json.dumps(document))
    evidence = stored_as(tmp_path, one=comparison())
    (source,) = evidence.of(PROFILE)
    assert "baseline, whose tuning is not stored" in step_time.profile(source, LINKS, evidence)["model"]
