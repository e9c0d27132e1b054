"""A comparison of several inner optimizers in the evaluation report, on made-up cells with known ratios."""

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from references.damage import damages, is_named
from references.known_results import SEEDS, T, loss_of
from references.markdown_tables import rows_of
from references.stored_comparisons import comparison, stored_as
from references.stored_optimizers import several

from hpt.compare.tables import tables_of
from hpt_reports.comparisons import comparisons, default_arm
from hpt_reports.evidence import Evidence, gather
from hpt_reports.figures.optimizers import draw_lengths
from hpt_reports.headlines import NOISY
from hpt_reports.kinds import COMPARISON
from hpt_reports.page import Links, Page
from hpt_reports.pages import ablations, evaluation, peers
from hpt_reports.targets import targets, verdict_of

LINKS = Links("runs/")
ABLATED = ("hybrid", "lr-boost", "without-ramp", "without-gate", "without-probe")


def value(cell: str) -> float:
    return float(cell.split("x", maxsplit=1)[0])


def page_of(folder: Path, **documents: Any) -> Page:
    return evaluation.build(stored_as(folder, **documents), LINKS)


def test_the_hybrid_on_the_best_optimizer_has_a_row_a_workload_and_one_over_all(tmp_path: Path) -> None:
    """1.1 over Muon, 1.87 over AdamW in steps and a quarter less in work, Muon by itself 1.7 and 1.36."""
    (source,) = stored_as(tmp_path, one=several()).sources
    rows = rows_of(peers.section(source, LINKS)["headline"])
    assert [row["workload"] for row in rows] == ["mlp", "cnn", "all workloads"]
    assert [(row["best by itself"], row["chosen by"]) for row in rows[:2]] == [("muon", "tuning trials")] * 2
    assert [row["work of its step"] for row in rows[:2]] == ["1.250"] * 2
    for row in rows:
        found = {name: value(cell) for name, cell in row.items() if "steps" in name or name.endswith("work")}
        assert found == pytest.approx(
            {
                "hybrid over it, steps": 1.1,
                "hybrid over it, work": 1.1,
                "hybrid over adamw, steps": 1.1 * 1.7,
                "hybrid over adamw, work": 1.1 * 1.7 / 1.25,
                "best other one by itself over adamw, steps": 1.7,
                "best other one by itself over adamw, work": 1.7 / 1.25,
            },
            rel=0.01,
        )


def test_each_optimizer_by_itself_tells_its_settings_and_its_loss(tmp_path: Path) -> None:
    """The loss of 1.7 T steps of AdamW, mean over seeds; one whose bracket is open says so."""
    (source,) = stored_as(tmp_path, one=several(open_brackets=["muon"])).sources
    row = next(one for one in rows_of(peers.section(source, LINKS)["alone"]) if one["by itself"] == "muon")
    assert float(row["loss at T"]) == pytest.approx(sum(loss_of(1.7 * T, seed) for seed in SEEDS) / 4, rel=1e-4)
    assert (row["learning-rate bracket"], row["trials"], row["work of its step"]) == ("open below", "2", "1.250")


def test_sentences_are_the_comparisons_own_with_what_settings_lack(tmp_path: Path) -> None:
    """Over all workloads first."""
    document = several(open_brackets=["muon"])
    (source,) = stored_as(tmp_path, one=document).sources
    first, mlp, cnn = peers.headline_sentences(source, LINKS)
    own = document["workloads"]["mlp"]["headline"]["sentence"]
    assert mlp.replace("\\", "").startswith(own.rstrip("."))
    assert "Settings fall short: muon learning-rate bracket open" in mlp
    assert "mlp: muon learning-rate bracket open; cnn: muon" in first
    assert cnn.startswith("On cnn")


def test_the_figure_holds_every_length_and_the_hybrids_at_the_full_one(tmp_path: Path) -> None:
    """As many points as optimizers ran at lengths, and a hybrid on each at T."""
    (source,) = stored_as(tmp_path, one=several()).sources
    figure = draw_lengths(source, "x")
    assert figure is not None
    rows = list(csv.DictReader(io.StringIO(figure.csv)))
    alone = {
        one: [int(row["updates"]) for row in rows if (row["workload"], row["optimizer"], row["kind"]) == one]
        for one in (("mlp", "adamw", "by itself"), ("mlp", "muon", "by itself"), ("mlp", "muon", "hybrid"))
    }
    assert list(alone.values()) == [[700, 1000, 1600, 2000, 2500], [850, 1000, 1150, 1300], [1000]]
    hybrid = next(row for row in rows if row["kind"] == "hybrid" and row["optimizer"] == "adamw")
    expected = sum(loss_of(1.3 * T, seed) for seed in SEEDS) / 4
    assert float(hybrid["mean_loss"]) == pytest.approx(expected, abs=1e-3)
    assert figure.draw().startswith(b"<?xml")


def test_a_hybrid_with_a_diverged_run_is_not_drawn(tmp_path: Path) -> None:
    """Its mean loss is none."""
    document = several()
    document["workloads"]["mlp"]["arms"]["hybrid-muon"]["measures"].update(num_diverged=1)
    (source,) = stored_as(tmp_path, one=document).sources
    figure = draw_lengths(source, "x")
    assert figure is not None
    assert "cnn,muon,hybrid" in figure.csv
    assert "mlp,muon,hybrid" not in figure.csv


def test_a_hybrid_that_loses_to_its_own_optimizer_hurts_whatever_it_gains_over_adamw(tmp_path: Path) -> None:
    """0.9 of Muon is still 1.2 of AdamW in work: the verdict is missed, and the summary names it."""
    page = page_of(tmp_path, one=several(gains={"hybrid": 1.3, "hybrid-muon": 0.9}))
    (row,) = [one for one in page.verdicts if one.what.startswith("hybrid-muon on mlp")]
    assert row.word == "missed"
    assert "over muon by itself" in row.what
    assert "hurts; over adamw 1.2" in row.measured
    assert "mlp: hybrid-muon" in page.summary[3]


def test_the_summary_begins_with_the_hybrid_on_the_best_optimizer(tmp_path: Path) -> None:
    """Where a budget that counts measured it; a quick one leaves the line to the default trainer."""
    line = page_of(tmp_path / "a", one=several(), two=comparison()).summary[0]
    assert "the best optimizer by itself needs 1.09" in line
    line = page_of(tmp_path / "all", one=several(names=NOISY)).summary[0]
    assert "at equal work jumps are worth 1.10x" in line
    assert "is best is worth 1.50x" in line
    assert "the best optimizer of each by itself 1.36x; after equally many updates jumps are worth 1.10x" in line
    line = page_of(tmp_path / "b", one=several(budget="quick"), two=comparison()).summary[0]
    assert "full-step equivalents of hybrid" in line


def test_the_default_trainer_is_judged_where_no_other_optimizer_ran(tmp_path: Path) -> None:
    """One of several optimizers is no target's value for it, and hides none."""
    both = stored_as(tmp_path / "both", one=several(), two=comparison())
    found = default_arm(both, "mlp")
    assert found is not None
    assert found.source.file.parent.name == "two"
    assert len(comparisons(both)) == 2
    assert default_arm(stored_as(tmp_path / "one", one=several()), "mlp") is None
    alone = default_arm(stored_as(tmp_path / "adamw", one=several(optimizers=("adamw",))), "mlp")
    assert alone is not None
    assert default_arm(stored_as(tmp_path / "muon", one=several(optimizers=("muon",))), "mlp") is None


def test_the_default_trainers_gain_stands_beside_the_best_peer_of_another_comparison(tmp_path: Path) -> None:
    """Muon by itself is worth 1.7 for a quarter more work; the cell links both comparisons."""
    (target,) = [one for one in targets() if one["id"] == "work_mlp"]
    row = verdict_of(target, stored_as(tmp_path / "a", one=several(), two=comparison()))
    assert "muon by itself 1.36x" in row.measured
    assert {one.file.parent.name for one in row.sources} == {"one", "two"}
    assert "no other optimizer was tried" in verdict_of(target, stored_as(tmp_path / "b", two=comparison())).measured


def test_controls_on_another_optimizer_are_told_over_that_one(tmp_path: Path) -> None:
    """A control on Muon does what Muon does: 1, and not 1.36."""
    line = page_of(tmp_path, one=several()).summary[2]
    ratios = [value(part.split()[-1]) for part in line.split(": ")[1].split(" (")[0].split(", ")]
    assert ratios == pytest.approx([1.0, 1.0], rel=0.01)


@pytest.mark.parametrize(("bound", "expected"), [(None, "mlp 0.870x"), ("below", "mlp 0.870x or less")])
def test_controls_are_those_beside_the_default_trainer(tmp_path: Path, bound: str | None, expected: str) -> None:
    """A newer comparison of more seeds with several optimizers has others, and a bound is told as one."""
    own = comparison()
    own["workloads"]["mlp"]["arms"]["lr-boost"]["measures"]["work_ratio"].update(value=0.87, bound=bound)
    line = page_of(tmp_path, own=own, other=several()).summary[2]
    assert f"{expected}," in line


def test_what_is_worth_its_place_is_what_the_comparison_itself_prints(tmp_path: Path) -> None:
    """Part by part, the row over all workloads included: 1.3 over 1.1, 1.4 and 1.3."""
    gains = {"hybrid": 1.3, "without-ramp": 1.1, "without-gate": 1.4, "without-probe": 1.3}
    document = several(optimizers=("workload",), arms=ABLATED, gains=gains)
    (source,) = stored_as(tmp_path, one=document).sources
    rows = rows_of(ablations.ablation_table(source, LINKS))
    (table,) = [one for one in tables_of(document) if one.title == "what is worth its place"]
    assert [(row["part"], row["worth"]) for row in rows] == [(row[2], row[4]) for row in table.rows]
    found = {row["part"]: value(row["work ratio, with it over without"]) for row in rows if row["workload"] == "mlp"}
    assert found == pytest.approx({"ramp": 1.3 / 1.1, "gate": 1.3 / 1.4, "probe": 1.0}, rel=0.01)
    assert {row["part"]: row["worth"] for row in rows[-3:]} == {
        "ramp": "worth its place",
        "gate": "in the way",
        "probe": "not shown",
    }


def test_a_comparison_without_ablations_has_no_such_table(tmp_path: Path) -> None:
    """Nor does one of an earlier day."""
    for source in stored_as(tmp_path, one=several(), two=comparison()).sources:
        assert ablations.ablation_table(source, LINKS) == ""


def refused(folder: Path, document: dict[str, Any]) -> str:
    (remark,) = stored_as(folder, one=document).remarks
    return remark.reason


def test_parts_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    """A best optimizer that did not run, a headline of an arm that was not measured, an optimizer that is lacking."""
    document = several()
    document["workloads"]["mlp"]["best"]["optimizer"] = "lion"
    assert "workloads.mlp.optimizers has no lion, which best has" in refused(tmp_path / "a", document)
    document = several()
    document["workloads"]["cnn"]["headline"]["arm"] = "lion"
    assert "workloads.cnn.headline.arm is 'lion', it must be a measured arm" in refused(tmp_path / "b", document)
    document = several()
    del document["workloads"]["cnn"]["optimizers"]["muon"]
    assert "workloads.cnn.optimizers has no muon" in refused(tmp_path / "c", document)


def test_no_damage_to_such_a_comparison_breaks_the_page(tmp_path: Path) -> None:
    """Odd values drawn by chance: file and field are named, or the page is made."""
    whole = several(open_brackets=["muon"])
    for values in whole["workloads"].values():
        for arm in values["arms"].values():
            arm["curve"] = arm["curve"][:1]
    for place, document in damages(copy.deepcopy(whole), count=60):
        (tmp_path / "summary.json").write_text(json.dumps(document))
        evidence: Evidence = gather(tmp_path)
        assert len(evidence.of(COMPARISON)) + len(evidence.remarks) >= 1, place
        wrong = [one.reason for one in evidence.remarks if one.word != "partial"]
        assert all(is_named(place, reason) for reason in wrong), (place, wrong)
        assert evaluation.build(evidence, LINKS).summary, place
