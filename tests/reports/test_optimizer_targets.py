"""Targets of the hybrid on several inner optimizers: reached, missed, inconclusive, not measured."""

from pathlib import Path
from typing import Any

import pytest
from references.stored_comparisons import comparison, stored_as
from references.stored_optimizers import several

from hpt_reports.evidence import Evidence
from hpt_reports.headlines import mean_over, on_best
from hpt_reports.page import VerdictRow
from hpt_reports.targets import targets, verdict_of

FIVE = ("byte-gpt-b16", "byte-gpt", "mlp", "cnn", "regression")
THREE = ("adamw", "muon", "soap")
NAMES = ("best_steps", "best_work", "best_alone", "best_alone_steps", "never_hurts")
BY_ID = {one["id"]: one for one in targets()}


def rows(evidence: Evidence) -> dict[str, VerdictRow]:
    return {name: verdict_of(BY_ID[name], evidence) for name in NAMES}


def words(folder: Path, **documents: Any) -> list[str]:
    return [one.word for one in rows(stored_as(folder, **documents)).values()]


def test_all_are_reached_where_the_made_up_ratios_lie_above_the_limits(tmp_path: Path) -> None:
    """1.1 x 1.7 in steps, 1.1 x 1.7 / 1.25 in work, 1.1 over Muon; the worst pair is 1.1, beside 1.3."""
    found = rows(stored_as(tmp_path, one=several(names=FIVE, optimizers=THREE)))
    assert {one.word for one in found.values()} == {"reached"}
    values = {name: float(one.measured.split("x")[0]) for name, one in found.items()}
    expected = {"best_steps": 1.87, "best_work": 1.496, "best_alone": 1.1, "best_alone_steps": 1.1, "never_hurts": 1.1}
    assert values == pytest.approx(expected, rel=0.01)
    assert "by itself over adamw 1.70x" in found["best_steps"].measured
    assert "the worst of 12 pairs" in found["never_hurts"].measured


def test_all_are_missed_where_they_lie_below(tmp_path: Path) -> None:
    """0.9 of Muon, then chosen the best all the same."""
    gains = {"hybrid": 1.2, "hybrid-muon": 0.9, "hybrid-soap": 1.0}
    found = rows(stored_as(tmp_path, one=several(names=FIVE, optimizers=THREE, gains=gains)))
    assert [one.word for one in found.values()] == ["missed"] * 5
    assert "with muon, the worst of 12 pairs" in found["never_hurts"].measured
    assert "hurting: byte-gpt-b16 with muon, byte-gpt with muon" in found["never_hurts"].measured.replace("\\", "")


def test_the_best_at_equal_work_is_not_the_best_after_equally_many_updates(tmp_path: Path) -> None:
    """Where steps of the others cost more than they are worth AdamW is best in work; the hybrid on it is worth 1.3."""
    document = several(names=FIVE, optimizers=THREE)
    for values in document["workloads"].values():
        for name in ("muon", "soap"):
            values["arms"][name]["measures"]["work_ratio"]["value"] = 0.9
    found = rows(stored_as(tmp_path, one=document))
    assert float(found["best_alone"].measured.split("x")[0]) == pytest.approx(1.3, rel=0.01)
    assert "best being byte-gpt-b16 adamw, byte-gpt adamw, mlp adamw, cnn adamw" in found["best_alone"].measured
    assert float(found["best_alone_steps"].measured.split("x")[0]) == pytest.approx(1.1, rel=0.01)
    assert "mlp muon" in found["best_alone_steps"].measured


def test_over_adamw_the_hybrid_is_taken_on_the_optimizer_with_which_it_is_best(tmp_path: Path) -> None:
    """In steps on Muon, 1.87; at equal work on AdamW, 1.6, though Muon by itself is the best there, too, with 1.36."""
    gains = {"hybrid": 1.6, "hybrid-muon": 1.1, "hybrid-soap": 1.1}
    found = rows(stored_as(tmp_path, one=several(names=FIVE, optimizers=THREE, gains=gains)))
    values = {name: float(one.measured.split("x")[0]) for name, one in found.items()}
    assert values["best_steps"] == pytest.approx(1.87, rel=0.01)
    assert values["best_work"] == pytest.approx(1.6, rel=0.01)
    assert values["best_alone"] == pytest.approx(1.1, rel=0.01)
    assert "mlp adamw" in found["best_work"].measured
    assert "mlp muon" in found["best_steps"].measured
    assert "by itself over adamw 1.36x" in found["best_work"].measured


def test_pairs_are_those_of_the_target_and_no_others(tmp_path: Path) -> None:
    """Harm on regression, which has no noise, or on a model of another size, is told elsewhere."""
    document = several(names=(*FIVE, "byte-gpt-1m"), optimizers=THREE)
    for name in ("regression", "byte-gpt-1m"):
        document["workloads"][name]["arms"]["hybrid-muon"]["own"]["work_ratio"]["value"] = 0.5
    found = rows(stored_as(tmp_path, one=document))["never_hurts"]
    assert (found.word, found.measured[:4]) == ("reached", "1.10")


@pytest.mark.parametrize(("low", "expected", "count"), [(1.001, "reached", 8), (1.0, "missed", 7)])
def test_a_pair_pays_where_its_whole_interval_lies_above_one(
    tmp_path: Path, low: float, expected: str, count: int
) -> None:
    """Eight of twelve are enough, and an interval that begins at 1 is not above it."""
    document = several(names=FIVE, optimizers=THREE)
    pairs = [(where, on) for where in FIVE if where != "regression" for on in ("hybrid", "hybrid-muon", "hybrid-soap")]
    for place, (where, on) in enumerate(pairs):
        own = document["workloads"][where]["arms"][on]["own"]["work_ratio"]
        own.update(value=1.1, high=1.2, low=low if place == 0 else 1.05 if place < 8 else 0.99)
    evidence = stored_as(tmp_path, one=document)
    found = verdict_of(BY_ID["pays_on_pairs"], evidence)
    assert (found.word, found.measured.split(" of ")[0]) == (expected, str(count))
    del document["workloads"]["cnn"]["arms"]["hybrid-soap"]
    assert verdict_of(BY_ID["pays_on_pairs"], stored_as(tmp_path / "less", one=document)).word == "not measured"


@pytest.mark.parametrize(
    ("value", "bound", "expected", "count"),
    [
        (1.2, None, "reached", "12 of 12"),
        (1.2, "above", "reached", "12 of 12"),
        (1.2, "below", "inconclusive", "11 of 12"),
        (0.9, "above", "inconclusive", "12 of 12"),
        (0.9, "below", "missed", "11 of 12"),
    ],
)
def test_a_pair_of_which_only_a_bound_is_known(
    tmp_path: Path, value: float, bound: str | None, expected: str, count: str
) -> None:
    """The truth may lie below 0.99 or above it, and what lies below a bound is not above 1."""
    document = several(names=FIVE, optimizers=THREE)
    document["workloads"]["mlp"]["arms"]["hybrid-soap"]["own"]["work_ratio"].update(value=value, low=1.05, bound=bound)
    evidence = stored_as(tmp_path, one=document)
    assert rows(evidence)["never_hurts"].word == expected
    assert verdict_of(BY_ID["pays_on_pairs"], evidence).measured.startswith(count)


def test_pairs_are_counted_in_the_comparison_that_has_most_of_them(tmp_path: Path) -> None:
    """One workload measured elsewhere with more seeds, where the hybrid hurts, replaces none of the twelve."""
    narrow, wide = several(names=FIVE[:1], optimizers=THREE), several(names=FIVE, optimizers=THREE)
    for arm in narrow["workloads"][FIVE[0]]["arms"].values():
        if arm["measures"] is not None:
            arm["measures"]["seeds"] = list(range(9))
    narrow["workloads"][FIVE[0]]["arms"]["hybrid-muon"]["own"]["work_ratio"]["value"] = 0.5
    both = rows(stored_as(tmp_path / "both", narrow=narrow, wide=wide))["never_hurts"]
    assert (both.word, both.measured[:4]) == ("reached", "1.10")
    assert rows(stored_as(tmp_path / "one", narrow=narrow))["never_hurts"].word == "missed"


def test_nothing_is_measured_by_one_optimizer_a_quick_budget_or_another_reference(tmp_path: Path) -> None:
    """Each would reach all of them."""
    none = ["not measured"] * 5
    assert words(tmp_path / "a", one=comparison()) == none
    assert words(tmp_path / "b", one=several(names=FIVE, optimizers=THREE, budget="quick")) == none
    document = several(names=FIVE, optimizers=THREE)
    document["settings"]["optimizers"] = ["muon", "adamw", "soap"]
    assert words(tmp_path / "c", one=document) == none


def test_a_mean_needs_all_its_workloads_and_a_pair_all_twelve(tmp_path: Path) -> None:
    """Without regression the mean in work is not known; without SOAP that no pair hurts is not."""
    found = words(tmp_path / "a", one=several(names=FIVE[:4]))
    assert found == ["reached", "not measured", "reached", "reached", "not measured"]
    assert words(tmp_path / "b", one=several(names=FIVE[:3], optimizers=THREE)) == ["not measured"] * 5


def test_workloads_may_come_from_several_comparisons(tmp_path: Path) -> None:
    """Each is linked."""
    first, second = several(names=FIVE[:2], optimizers=THREE), several(names=FIVE[2:], optimizers=THREE)
    found = rows(stored_as(tmp_path, one=first, two=second))
    assert {one.word for one in found.values()} == {"reached"}
    assert {source.file.parent.name for source in found["best_steps"].sources} == {"one", "two"}


def test_settings_that_were_not_searched_reach_nothing_but_harm_stays_said(tmp_path: Path) -> None:
    """Muon's own bracket is open: a gain over it is no target's value, a loss to it is one."""
    document = several(names=FIVE, open_brackets=["muon"])
    assert words(tmp_path / "a", one=document) == ["not measured"] * 5
    document["workloads"]["cnn"]["arms"]["hybrid-muon"]["own"]["work_ratio"]["value"] = 0.98
    assert words(tmp_path / "b", one=document) == [*["not measured"] * 4, "missed"]


@pytest.mark.parametrize(("bound", "expected"), [("above", "inconclusive"), ("below", "missed"), (None, "missed")])
def test_a_bound_decides_only_what_it_excludes(tmp_path: Path, bound: str | None, expected: str) -> None:
    """1.5 is below the limit of 1.6; as a lower bound it leaves open whether the truth is."""
    document = several(names=FIVE, optimizers=THREE)
    for values in document["workloads"].values():
        for arm in ("hybrid", "hybrid-muon", "hybrid-soap"):
            values["arms"][arm]["measures"]["steps_ratio"].update(value=1.5, by_seed=[1.5] * 4, bound=bound)
    assert rows(stored_as(tmp_path, one=document))["best_steps"].word == expected


def test_the_comparison_with_most_optimizers_is_taken(tmp_path: Path) -> None:
    """Its best is the hardest to beat; a newer one of two optimizers, as for the ladder, does not replace it."""
    newer = several(names=FIVE, gains={"hybrid-muon": 1.9})
    newer["finished_at"] = "2099-01-01T00:00:00+00:00"
    found = rows(stored_as(tmp_path, three=several(names=FIVE, optimizers=THREE), two=newer))
    assert {source.file.parent.name for source in found["best_alone"].sources} == {"three"}
    assert float(found["best_alone"].measured.split("x")[0]) == pytest.approx(1.1, rel=0.01)


def test_the_mean_is_the_harness_own_where_the_workloads_are(tmp_path: Path) -> None:
    """The geometric mean with its interval, as `summary.json` has it over the same workloads."""
    document = several()
    evidence = stored_as(tmp_path, one=document)
    found = [one for name in ("mlp", "cnn") if (one := on_best(evidence, name, "over_own", "steps_ratio")) is not None]
    mean, expected = mean_over(found, "over_own", "work_ratio"), document["headline"]["over_own"]["work_ratio"]
    assert (mean.value, mean.low, mean.high) == pytest.approx((expected["value"], expected["low"], expected["high"]))
