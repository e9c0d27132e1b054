"""The page on what decided says what the documents say, and "not measured" where they say nothing."""

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from references.damage import damages, is_named
from references.markdown_tables import rows_of
from references.stored_comparisons import comparison, stored_as
from references.stored_decisions import BASES, BEFORE, T, comparison_that_decided, told
from references.stored_optimizers import several

from hpt.jump.policy import POLICIES
from hpt_reports.builder import build
from hpt_reports.check import numbers_without_source
from hpt_reports.decided import decided_in
from hpt_reports.evidence import gather
from hpt_reports.figures.decided import draw_decided
from hpt_reports.figures.policies import draw_prior
from hpt_reports.formatting import plain
from hpt_reports.kinds import COMPARISON, TRAINING
from hpt_reports.page import Links, Page
from hpt_reports.pages import evaluation
from hpt_reports.prior import Entry

LINKS = Links("runs/")
COMMAND = "hpt compare --budget standard --tune --out runs/compare"


def page_of(folder: Path, **documents: Any) -> Page:
    return evaluation.build(stored_as(folder, **documents), LINKS)


def test_the_policy_of_each_method_and_the_number_of_its_runs(tmp_path: Path) -> None:
    """Two of four runs ended with half-kept, one with full-kept, one without jumps, each arm on its own prior."""
    rows = rows_of(page_of(tmp_path, one=comparison_that_decided()).values["decided"]["played"])
    found = [(row["workload"], row["arm"], row["played at the end"], row["in runs"]) for row in rows]
    ends = [("half-kept", "2 of 4"), ("none", "1 of 4"), ("full-kept", "1 of 4")]
    assert found[:6] == [("mlp", arm, *end) for arm in BASES for end in ends]
    assert [row["believed beforehand"] for row in rows[:6]] == [BASES["hybrid"]] * 3 + [BASES["hybrid-muon"]] * 3
    worth = [row["worth most at the end, log work ratio"] for row in rows[:3]]
    assert [one.split(",")[0] for one in worth] == [
        "half-kept 0.0450 ± 0.0350",
        "half-kept -0.0200 ± 0.0300",
        "full-kept 0.100 ± 0.0350",
    ]
    assert worth[2].endswith("as a ratio 1.11x")
    assert [row["forks"] for row in rows[:3]] == ["2 of full", "none", "1 of full-kept, 1 of half"]
    assert {row["played at the end"] for row in rows[6:]} == {"nothing was decided"}
    assert {row["workload"] for row in rows[6:]} == {"cnn"}


def test_a_method_without_cells_or_of_an_earlier_day_is_not_measured(tmp_path: Path) -> None:
    """Beside one that decided; a run that decided nothing is counted."""
    document = comparison_that_decided()
    del document["workloads"]["cnn"]["arms"]["hybrid"]["decisions"]
    hybrid = document["workloads"]["mlp"]["arms"]["hybrid"]
    hybrid["decisions"] = [one for one in hybrid["decisions"] if one["seed"] != 2]
    rows = rows_of(page_of(tmp_path, one=document).values["decided"]["played"])
    found = {(row["workload"], row["arm"], row["played at the end"]): row["in runs"] for row in rows}
    assert found["cnn", "hybrid", "not measured"] == "not measured"
    assert found["mlp", "hybrid", "nothing was decided"] == "1 of 4"
    assert ("mlp", "hybrid", "none") not in found


def test_every_fork_is_a_row_with_its_value_and_error(tmp_path: Path) -> None:
    """One a seed, though two seeds measured the same; a branch that broke down has no number."""
    rows = rows_of(page_of(tmp_path, one=comparison_that_decided()).values["decided"]["forks"])
    hybrid = [tuple(row.values())[2:8] for row in rows if row["arm"] == "hybrid"]
    assert hybrid == [
        ("0", "300", "full", "-0.00280", "0.000500", "no"),
        ("1", "300", "full", "-0.00280", "0.000500", "no"),
        ("3", "400", "full-kept", "0.00400", "0.00100", "yes"),
        ("3", "600", "half", "broke down", "-", "no"),
    ]
    assert len(rows) == 8


def test_the_figure_holds_every_belief_and_fork_once(tmp_path: Path) -> None:
    """Runs that had the same are one panel; a belief is the document's, at its share of the run."""
    (source,) = stored_as(tmp_path, one=comparison_that_decided()).sources
    figure = draw_decided("x", "title", decided_in(source))
    rows = list(csv.DictReader(io.StringIO(figure.csv)))
    assert list(dict.fromkeys(row["seeds"] for row in rows)) == ["0 1", "2", "3"]
    for arm, basis in BASES.items():
        for seeds, seed in (("0 1", 0), ("2", 2), ("3", 3)):
            decisions, forks = told(basis)[seed]
            mine = [row for row in rows if (row["arm"], row["seeds"]) == (arm, seeds)]
            beliefs = [row for row in mine if row["what"] == "belief"]
            assert [(int(row["update"]), row["played"], row["policy"]) for row in beliefs] == [
                (one.step, one.policy, policy) for one in decisions for policy in POLICIES
            ]
            for name, means in (("mean", True), ("sd", False)):
                expected = [(one.means if means else one.sds)[policy] for one in decisions for policy in POLICIES]
                assert [float(row[name]) for row in beliefs] == pytest.approx(expected)
            assert [float(row["progress"]) for row in mine] == [int(row["update"]) / T for row in mine]
            assert [row["policy"] for row in mine if row["what"] == "fork"] == [one.policy for one in forks]
    assert figure.draw().startswith(b"<?xml")


def test_the_page_links_every_number_and_shows_the_figure(tmp_path: Path) -> None:
    """As the builder writes it, the prior included."""
    stored_as(tmp_path / "runs", one=comparison_that_decided())
    built = build(tmp_path / "runs", tmp_path / "out", "evaluation")
    for name, content in built.files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    text = built.files["EVALUATION_REPORT.md"].decode()
    section = text.split("## What decided")[1].split("\n### What it rests on")[0]
    assert "figures/decided_comparison-1_mlp.svg" in section
    assert "figures/prior.svg" in section
    assert "not measured" not in section.split("### What it rests on")[0]  # full runs are a file of their own
    assert list(numbers_without_source(text, tmp_path / "out")) == []
    assert (tmp_path / "out" / "figures" / "decided_comparison-1_mlp.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("document", [None, several(), comparison()], ids=["nothing", "no decisions", "an earlier day"])
def test_without_decisions_it_is_not_measured_and_the_command_is_there(tmp_path: Path, document: Any) -> None:
    """No table and no figure but the prior's, which needs no run."""
    page = page_of(tmp_path, **({} if document is None else {"one": document}))
    found = page.values["decided"]
    assert (found["played"], found["forks"], found["figures"], found["runs"]) == ("", "", [], [])
    assert [name for name in page.figures if name.startswith("decided")] == []
    assert ("which policy of jumping was played, and why", COMMAND) in [(one.what, one.command) for one in page.missing]
    assert "prior" in page.figures


def test_decisions_end_the_search_for_them(tmp_path: Path) -> None:
    """Nothing of them is missing then."""
    page = page_of(tmp_path, one=comparison_that_decided())
    assert not any("policy of jumping" in one.what for one in page.missing)


def test_forks_of_an_earlier_day_are_over_no_policy_and_left_out(tmp_path: Path) -> None:
    """They were over one jump; the document is read all the same."""
    document = comparison_that_decided()
    old = {"seed": 0, "step": 300, "immediate": 0.1, "value": 0.5, "value_se": 0.1, "kept_jump": True}
    document["workloads"]["mlp"]["arms"]["hybrid"]["jump_values"]["forks"] = [old]
    page = page_of(tmp_path, one=document)
    assert {row["arm"] for row in rows_of(page.values["decided"]["forks"])} == {"hybrid-muon"}


def test_the_prior_is_the_packages_own(tmp_path: Path) -> None:
    """Each entry with its runs, and mean and root of the variance of every policy."""
    file = Path(__file__).parents[2] / "hpt" / "learned" / "prior.json"
    document = json.loads(file.read_text())
    page = page_of(tmp_path)
    rows = {row["kind of run"]: row for row in rows_of(page.values["decided"]["prior"])}
    data = {(one["entry"], one["policy"]): one for one in csv.DictReader(io.StringIO(page.figures["prior"].csv))}
    assert list(rows) == list(document["entries"])
    for name, entry in document["entries"].items():
        assert rows[name]["runs"] == (str(len(entry["runs"])) if entry["runs"] else "none, assumed")
        for place, policy in enumerate(document["policies"]):
            mean, sd = entry["mean"][place], entry["covariance"][place][place] ** 0.5
            assert rows[name][policy] == f"{plain(float(mean))} ± {plain(sd)}"
            assert float(data[name, policy]["mean"]) == pytest.approx(mean, rel=1e-5)
            assert float(data[name, policy]["sd"]) == pytest.approx(sd, rel=1e-5)
    assert page.figures["prior"].draw().startswith(b"<?xml")


def test_the_figure_of_the_prior_says_how_many_runs_are_behind_an_entry() -> None:
    """None are an assumption."""
    worth = {"means": {"half": 0.02, "full": -0.03}, "sds": {"half": 0.01, "full": 0.02}}
    figure = draw_prior([Entry(name, runs, **worth) for name, runs in (("muon-text", 12), ("soap", 1), ("any", 0))])
    for words in ("muon-text (12 runs): half 0.0200 ± 0.0100", "soap (1 run):", "any (assumed):"):
        assert words in figure.alt
    assert figure.draw().startswith(b"<?xml")


def test_no_damage_to_decisions_breaks_the_page(tmp_path: Path) -> None:
    """Odd values drawn by chance in decisions and forks: file and field are named, or the page is made."""
    whole = comparison_that_decided()
    arms = whole["workloads"]["mlp"]["arms"]
    part = {name: arms["hybrid"][name] for name in ("decisions", "jump_values")}
    others = {name: value for name, value in arms["hybrid"].items() if name not in part}
    for place, damaged in damages(copy.deepcopy(part), count=120):
        arms["hybrid"] = others | damaged
        (tmp_path / "summary.json").write_text(json.dumps(whole))
        evidence = gather(tmp_path)
        wrong = [one.reason for one in evidence.remarks if one.word != "partial"]
        assert len(evidence.of(COMPARISON)) + len(wrong) == 1, place
        assert all(is_named(place, reason) for reason in wrong), (place, wrong)
        assert evaluation.build(evidence, LINKS).summary, place


def test_a_decision_must_tell_the_spread_of_every_mean(tmp_path: Path) -> None:
    """A mean without one is named."""
    document = comparison_that_decided()
    del document["workloads"]["mlp"]["arms"]["hybrid"]["decisions"][0]["sds"]["full"]
    (remark,) = stored_as(tmp_path, one=document).remarks
    assert "sds has no full, which means has" in remark.reason
    assert "decisions[0]" in remark.reason


def trained(folder: Path, values: Any) -> Page:
    """A stored training run of which run.json says these values."""
    run = json.loads((Path(__file__).parent / "data" / "train" / "run.json").read_text())
    run["predictor"]["values"] = values
    (folder / "train").mkdir()
    (folder / "train" / "run.json").write_text(json.dumps(run))
    return evaluation.build(gather(folder), LINKS)


def planted_values() -> dict[str, Any]:
    decisions, forks = told("adam-plain, prior of 12 runs")[3]
    return {
        "decisions": [
            {"step": one.step // 5, "policy": one.policy, "means": one.means, "sds": one.sds, "why": one.why}
            for one in decisions
        ],
        "measurements": [
            {"step": forks[0].step // 5, "policy": "full-kept", "value": 0.004, "value_se": 0.001, "worth": 0.2},
            {"step": forks[1].step // 5, "policy": "half", "value": None, "value_se": None, "worth": -1.0},
        ],
    }


def test_a_single_training_run_has_the_same_figure(tmp_path: Path) -> None:
    """Of 400 updates: decisions at 40, 80 and 130, and a fork that goes on because its policy is played from there."""
    page = trained(tmp_path, planted_values())
    assert page.values["decided"]["runs"] == ["decided_training-1"]
    rows = list(csv.DictReader(io.StringIO(page.figures["decided_training-1"].csv)))
    beliefs = [row for row in rows if row["what"] == "belief"]
    assert sorted({float(row["progress"]) for row in beliefs}) == [0.1, 0.2, 0.325]
    assert [float(row["mean"]) for row in beliefs[: len(BEFORE)]] == list(BEFORE)
    forks = [(row["policy"], row["loss_saved_a_jump"], row["goes_on"]) for row in rows if row["what"] == "fork"]
    assert forks == [("full-kept", "0.004", "True"), ("half", "-inf", "False")]
    assert page.figures["decided_training-1"].draw().startswith(b"<?xml")


@pytest.mark.parametrize("values", [None, {"count": 0, "leader": "mean"}, {"decisions": [], "measurements": []}])
def test_a_training_run_that_decided_nothing_has_no_figure(tmp_path: Path, values: Any) -> None:
    """Fixed policies, runs of an earlier day, and runs that ended before their window."""
    page = trained(tmp_path, values)
    assert page.values["decided"]["runs"] == []
    assert [name for name in page.figures if name.startswith("decided")] == []
    assert page.values["runs"]


def test_a_damaged_training_run_is_named(tmp_path: Path) -> None:
    """With the field that is amiss."""
    values = planted_values()
    values["decisions"][1]["means"]["half"] = "much"
    trained(tmp_path, values)
    evidence = gather(tmp_path)
    assert evidence.of(TRAINING) == []
    assert "predictor.values.decisions[1].means.half is 'much'" in evidence.remarks[0].reason
