"""Which stored comparison counts for a workload: both sides tuned, then budget, seeds and day."""

from pathlib import Path
from typing import Any

import pytest
from references.stored_comparisons import comparison, stored_as

from hpt_reports.comparisons import comparisons, default_arm
from hpt_reports.evidence import Evidence
from hpt_reports.targets import targets, verdict_of


def chosen(evidence: Evidence) -> str:
    found = default_arm(evidence, "mlp")
    return "none" if found is None else found.source.file.parent.name


def word(evidence: Evidence) -> str:
    return next(verdict_of(one, evidence).word for one in targets() if one["id"] == "work_mlp")


@pytest.mark.parametrize(
    ("baseline", "hybrid", "expected"),
    [
        ("closed", "closed", "reached"),
        ("untuned", "untuned", "not measured"),
        ("open", "closed", "not measured"),
        ("closed", "open", "not measured"),
        ("closed", "untuned", "not measured"),
    ],
)
def test_a_target_takes_only_a_ratio_tuned_on_both_sides(
    tmp_path: Path, baseline: str, hybrid: str, expected: str
) -> None:
    """Of one comparison whose work ratio is far above the limit."""
    assert word(stored_as(tmp_path, one=comparison(baseline=baseline, hybrid=hybrid))) == expected


@pytest.mark.parametrize(
    ("value", "bound", "expected"),
    [
        (1.4, "above", "reached"),
        (1.4, "below", "inconclusive"),
        (1.0, "above", "inconclusive"),
        (1.0, "below", "missed"),
    ],
)
def test_a_bound_decides_only_in_its_own_direction(tmp_path: Path, value: float, bound: str, expected: str) -> None:
    """At least 1.15 is wanted: 1.4 or less may be too little, 1.0 or more may be enough."""
    document = comparison(value=value)
    document["workloads"]["mlp"]["arms"]["hybrid"]["measures"]["work_ratio"]["bound"] = bound
    assert word(stored_as(tmp_path, one=document)) == expected


def test_settings_of_an_earlier_tuning_count(tmp_path: Path) -> None:
    """Trials are trials, whichever comparison made them."""
    document = comparison()
    values = document["workloads"]["mlp"]
    values["baseline"]["tuned"]["source"], values["arms"]["hybrid"]["tuned"]["source"] = "cached", "tuned"
    assert word(stored_as(tmp_path, one=document)) == "reached"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"baseline": "untuned", "hybrid": "untuned", "day": "2099-01-01"}),
        ({}, {"hybrid": "open", "budget": "full", "num_seeds": 9, "day": "2099-01-01"}),
        ({"budget": "full"}, {"num_seeds": 9, "day": "2099-01-01"}),
        ({"num_seeds": 3}, {"day": "2099-01-01"}),
        ({"day": "2099-01-01"}, {}),
        ({}, {"budget": "quick", "num_seeds": 9, "day": "2099-01-01"}),
    ],
)
def test_of_several_the_tuned_then_larger_then_newer_one_is_chosen(
    tmp_path: Path, better: dict[str, Any], worse: dict[str, Any]
) -> None:
    """Whatever the names of their folders."""
    for names in (("a", "b"), ("b", "a")):
        documents = dict(zip(names, (comparison(**better), comparison(**worse)), strict=True))
        assert chosen(stored_as(tmp_path / names[0], **documents)) == names[0]


def test_a_newer_untuned_comparison_does_not_hide_the_tuned_one(tmp_path: Path) -> None:
    """The one that is worse on every workload is not shown."""
    untuned = comparison(baseline="untuned", hybrid="untuned", day="2099-01-01")
    shown = comparisons(stored_as(tmp_path, tuned=comparison(), untuned=untuned))
    assert [one.file.parent.name for one in shown] == ["tuned"]


def test_a_comparison_with_another_workload_or_arm_is_shown_as_well(tmp_path: Path) -> None:
    """It says something that the newer one does not."""
    other, more = comparison(name="byte-gpt-variant"), comparison()
    more["workloads"]["mlp"]["arms"]["nesterov"] = more["workloads"]["mlp"]["arms"]["hybrid"]
    newest = comparison(day="2099-01-01")
    assert len(comparisons(stored_as(tmp_path, other=other, more=more, newest=newest))) == 3


def test_what_counts_for_a_target_is_shown(tmp_path: Path) -> None:
    """Each of two comparisons is the better one on one workload of the two."""
    first, second = comparison(), comparison(day="2099-01-01", baseline="open")
    first["workloads"]["cnn"] = second["workloads"]["mlp"]
    second["workloads"]["cnn"] = first["workloads"]["mlp"]
    evidence = stored_as(tmp_path, first=first, second=second)
    found = {name: default_arm(evidence, name) for name in ("mlp", "cnn")}
    assert {name: one and one.source.file.parent.name for name, one in found.items()} == {
        "mlp": "first",
        "cnn": "second",
    }
    assert len(comparisons(evidence)) == 2
