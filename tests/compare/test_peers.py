"""Several optimizers compared, on made-up cells with known ratios: what the hybrid on the best is worth, over what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from references.known_results import SEEDS, T, loss_of, make_result

from hpt.compare.arms import BASELINE
from hpt.compare.cells import CellFolder, Recipe
from hpt.compare.peers import trained_alike
from hpt.compare.plan import ComparisonPlan
from hpt.compare.readings import find_bests, read
from hpt.compare.roster import ARMS
from hpt.compare.search import Tuned
from hpt.compare.suite import Task
from hpt.compare.summary import Circumstances, summarize
from hpt.compare.tables import ratio_cell, sentences_of, tables_of
from hpt.compare.tuning import TunedSettings, recipes_of
from hpt.documents import DocumentError

TASKS = (Task("mlp", T), Task("cnn", T))
ABOUT = Circumstances(
    command=["hpt"], finished_at="2026-01-01T00:00:00+00:00", budget="quick", jobs=1, failed={}, complete=True
)
PLAN = ComparisonPlan(
    tasks=TASKS,
    arms=tuple(ARMS[name] for name in (BASELINE, "hybrid", "lr-boost")),
    seeds=SEEDS,
    length_fracs=(0.7, 1.0, 1.6),
    optimizers=("adamw", "muon"),
)
MUON, GAIN, MUON_WORK = 1.7, 1.1, 1.25
"""T steps of Muon are worth 1.7 T of AdamW, of the hybrid on it 1.1 times that; its own work is a quarter of a step."""
NOISE = dict(zip(SEEDS, (0.001, -0.001, 0.0005, 0.0), strict=True))


def tuned(loss: float, num_trials: int = 2) -> Tuned:
    trials = [{"lr_factor": 1.0, "shape": "linear", "memory": None, "loss": loss} for _ in range(num_trials)]
    return Tuned(recipe=Recipe(), source="tuned", bracket_closed=True, trials=trials)


def settings(**changed: Tuned) -> TunedSettings:
    found = {BASELINE: tuned(2.0), "muon": tuned(1.9), "hybrid": tuned(1.95), "hybrid-muon": tuned(1.85)} | changed
    return {(task.workload, name): one for task in TASKS for name, one in found.items()}


def fill(folder: CellFolder, gain: float = GAIN) -> None:
    """Every cell of the plan, as long as the best optimizer is Muon."""
    recipes = recipes_of(PLAN, find_bests(PLAN, settings(), folder), settings())
    for cell in PLAN.cells(recipes, find_bests(PLAN, settings(), folder)):
        on_muon = MUON if cell.recipe.optimizer == "muon" else 1.0
        worth = {"hybrid-muon": gain, "hybrid": 1.3, "lr-boost-muon": 1.02}.get(cell.arm, 1.0)
        noise = NOISE[cell.seed] if worth != 1.0 else 0.0
        work = cell.steps * (MUON_WORK if cell.recipe.optimizer == "muon" else 1.0)
        folder.store(cell, make_result(loss_of(on_muon * worth * cell.steps, cell.seed) + noise, work))


def summary_of(folder: CellFolder, found: TunedSettings) -> dict[str, Any]:
    bests = find_bests(PLAN, found, folder)
    return summarize(PLAN, found, read(PLAN, bests, found, folder), ABOUT)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = CellFolder(tmp_path_factory.mktemp("cells"))
    fill(folder)
    return summary_of(folder, settings())


def test_the_hybrid_on_the_best_optimizer_is_measured_over_it_and_over_the_reference(summary: dict[str, Any]) -> None:
    """1.1 over Muon, whose steps cost the same; 1.7 x 1.1 over AdamW in steps, a quarter more expensive in work."""
    for found in (*(values["headline"] for values in summary["workloads"].values()), summary["headline"]):
        own, reference = found["over_own"], found["over_reference"]
        assert own["work_ratio"]["value"] == pytest.approx(GAIN, rel=0.01)
        assert own["steps_ratio"]["value"] == pytest.approx(GAIN, rel=0.01)
        assert reference["steps_ratio"]["value"] == pytest.approx(MUON * GAIN, rel=0.01)
        assert reference["work_ratio"]["value"] == pytest.approx(MUON * GAIN / MUON_WORK, rel=0.01)
        assert own["judgement"]["verdict"] == reference["judgement"]["verdict"] == "accelerates"


def test_an_optimizer_by_itself_is_a_peer_with_its_own_curve_and_what_its_step_costs(summary: dict[str, Any]) -> None:
    """Chosen by its trials; its work an update is a step and a quarter."""
    values = summary["workloads"]["mlp"]
    assert values["best"] == {"optimizer": "muon", "chosen_by": "tuning trials"}
    assert values["optimizers"]["muon"]["work_per_update"] == pytest.approx(MUON_WORK)
    assert [row["steps"] for row in values["optimizers"]["muon"]["lengths"]] == [850, 1000, 1150, 1300]
    assert values["arms"]["muon"]["role"] == "peer"
    assert values["arms"]["muon"]["measures"]["work_ratio"]["value"] == pytest.approx(MUON / MUON_WORK, rel=0.01)
    assert values["arms"]["muon"]["own"] is None


def test_arms_of_one_seed_trained_on_different_text_are_not_compared(tmp_path: Path) -> None:
    """A folder filled on two machines, by whose texts knowing nothing costs 5.0 and 4.9; the file is named."""
    folder = CellFolder(tmp_path)
    fill(folder)
    bests = find_bests(PLAN, settings(), folder)
    cell = next(one for one in PLAN.cells(recipes_of(PLAN, bests, settings()), bests) if one.arm == "hybrid-muon")
    folder.store(cell, make_result(2.0, T, chance_loss=4.9))
    with pytest.raises(DocumentError, match=f"{cell.key}.*other data than mlp-baseline"):
        summary_of(folder, settings())


def test_no_gain_over_adamw_is_told_without_the_best_peer(summary: dict[str, Any]) -> None:
    """The hybrid on AdamW accelerates it by 1.3; every sentence that says so names what Muon does by itself."""
    told = [text for text in sentences_of(summary) if "accelerates" in text and "hybrid" in text]
    assert told
    assert all("muon, the best other optimizer by itself, 1.36" in text for text in told)


def test_with_a_single_optimizer_the_sentence_says_that_no_other_was_tried(tmp_path: Path) -> None:
    """So that nobody takes a gain over one baseline for more."""
    plan = replace(PLAN, optimizers=("adamw",))
    folder = CellFolder(tmp_path)
    found = {place: one for place, one in settings().items() if not place[1].endswith("muon")}
    bests = find_bests(plan, found, folder)
    for cell in plan.cells(recipes_of(plan, bests, found), bests):
        gain = 1.3 if cell.arm == "hybrid" else 1.0
        folder.store(cell, make_result(loss_of(gain * cell.steps, cell.seed), cell.steps))
    summary = summarize(plan, found, read(plan, bests, found, folder), ABOUT)
    assert "no other optimizer was tried" in summary["workloads"]["mlp"]["arms"]["hybrid"]["sentence"]
    assert "no other optimizer was tried" in summary["overall"]["hybrid"]["sentence"]


def test_an_arm_with_more_trials_than_its_baseline_is_refused_a_claim(tmp_path: Path) -> None:
    """Found better with a third trial, where Muon and AdamW had two each."""
    folder = CellFolder(tmp_path)
    fill(folder)
    unfair = settings(**{"hybrid-muon": tuned(1.85, num_trials=3)})
    values = summary_of(folder, unfair)["workloads"]["mlp"]
    assert not values["headline"]["over_own"]["claim"]
    assert not values["headline"]["over_reference"]["claim"]
    assert not values["arms"]["hybrid-muon"]["claim"]
    assert "more tuning trials" in values["arms"]["hybrid-muon"]["sentence"]
    fair = summary_of(folder, settings())["workloads"]["mlp"]
    assert fair["headline"]["over_own"]["claim"]
    assert fair["arms"]["hybrid-muon"]["claim"]


def test_a_hybrid_that_loses_to_its_own_optimizer_is_said_to_hurt_whatever_it_gains_over_adamw(tmp_path: Path) -> None:
    """0.9 of Muon is still 1.5 of AdamW."""
    folder = CellFolder(tmp_path)
    fill(folder, gain=0.9)
    headline = summary_of(folder, settings())["workloads"]["mlp"]["headline"]
    assert headline["over_own"]["judgement"]["verdict"] == "hurts"
    assert headline["over_reference"]["steps_ratio"]["value"] == pytest.approx(0.9 * MUON, rel=0.01)
    assert "hurts (the interval lies below 1)" in headline["sentence"]


def test_the_headline_table_has_a_row_a_workload_and_one_over_all(summary: dict[str, Any]) -> None:
    """Its cells are those of the document."""
    (table,) = [one for one in tables_of(summary) if one.title == "hybrid on the best optimizer"]
    assert [row[:3] for row in table.rows] == [
        ("mlp", "muon", "tuning trials"),
        ("cnn", "muon", "tuning trials"),
        ("all", "-", "-"),
    ]
    found = summary["workloads"]["mlp"]["headline"]["over_own"]["work_ratio"]
    assert table.rows[0][table.head.index("over it, work")] == ratio_cell(found)


def test_without_trials_the_best_is_chosen_by_the_seeds_once_all_are_there(tmp_path: Path) -> None:
    """Until then only what runs on every optimizer is planned."""
    folder = CellFolder(tmp_path)
    untuned = {place: replace(one, trials=[]) for place, one in settings().items()}
    assert find_bests(PLAN, untuned, folder) == {}
    fill(folder)
    assert {best.optimizer for best in find_bests(PLAN, untuned, folder).values()} == {"muon"}
    assert {best.chosen_by for best in find_bests(PLAN, untuned, folder).values()} == {
        "final losses of the seeds compared"
    }


def trials_of(*losses: float | None) -> list[dict[str, Any]]:
    """One a learning rate, 1, 2, 3 and so on."""
    return [{"lr_factor": 1.0 + n, "shape": "linear", "memory": None, "loss": one} for n, one in enumerate(losses)]


@pytest.mark.parametrize(
    ("muon", "alike"),
    [
        (trials_of(2.0, 1.9, 1.8), {"muon": "adamw"}),
        (trials_of(2.0, 1.9), {"muon": "adamw"}),
        (trials_of(2.0), {}),
        (trials_of(2.0, 1.9000001), {}),
        (trials_of(None, None, None), {}),
        ([], {}),
    ],
)
def test_an_optimizer_trained_alike_if_every_trial_at_the_same_recipe_ended_in_the_same_loss(
    muon: list[dict[str, Any]], alike: dict[str, str]
) -> None:
    """On a model without a hidden matrix Muon is the AdamW that it leaves the rest to; one trial may be chance."""
    assert trained_alike({"adamw": trials_of(2.0, 1.9, 1.8), "muon": muon}) == alike


def test_two_that_diverged_at_the_same_rates_did_not_train_alike() -> None:
    """What ended in nothing tells nothing."""
    assert trained_alike({"adamw": trials_of(2.0, None, None), "muon": trials_of(2.0, None, None)}) == {}


def test_what_trained_alike_is_said_in_the_summary_and_in_the_sentence(tmp_path: Path) -> None:
    """Of the optimizer and of the hybrid on it, and of no other."""
    folder, twin = CellFolder(tmp_path), replace(tuned(2.0), trials=trials_of(2.0, 1.9))
    found = settings(baseline=twin, muon=twin)
    fill(folder)
    values = summary_of(folder, found)["workloads"]["mlp"]
    told = {name for name, arm in values["arms"].items() if "trained exactly as adamw" in arm["sentence"]}
    assert values["trained_alike"] == {"muon": "adamw"}
    assert (
        told == {name for name, arm in values["arms"].items() if arm["optimizer"] == "muon"} >= {"muon", "hybrid-muon"}
    )
