"""Arms of known ratio in stored comparisons: found, not found, or from a comparison that cannot tell."""

from pathlib import Path
from typing import Any

import pytest
from references.stored_comparisons import comparison, stored_as

from hpt_reports.builder import build
from hpt_reports.evidence import Evidence
from hpt_reports.targets import targets, verdict_of


def word(evidence: Evidence, arm: str) -> str:
    return next(verdict_of(one, evidence).word for one in targets() if one["id"] == f"calibration_{arm}")


def with_arm(arm: str, value: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    """The stored comparison on mlp with other findings for a calibration."""
    document = comparison(baseline=changes.get("baseline", "closed"), budget=changes.get("budget", "standard"))
    found = document["workloads"]["mlp"]["arms"][arm]
    found["measures"]["work_ratio"].update(value=value, low=low, high=high)
    found["judgement"].update(verdict=changes.get("verdict", "no difference"), over_control={"value": value})
    return document


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (1.00, 0.95, 1.05, "reached"),
        (1.04, 0.96, 1.13, "reached"),
        (1.00, 0.85, 1.20, "missed"),
        (1.05, 1.02, 1.08, "missed"),
        (0.95, 0.92, 0.98, "missed"),
    ],
)
def test_a_baseline_is_itself_if_its_interval_is_narrow_and_holds_one(
    tmp_path: Path, value: float, low: float, high: float, expected: str
) -> None:
    """Half the width of [.85, 1.20] is 18.8 %; the other two intervals leave 1 outside."""
    assert word(stored_as(tmp_path, one=with_arm("self", value, low, high)), "self") == expected


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [(1.31, 1.25, 1.38, "reached"), (1.22, 1.15, 1.28, "missed"), (1.5, 1.2, 1.8, "missed")],
)
def test_a_planted_ratio_must_be_inside_the_interval_and_near_its_middle(
    tmp_path: Path, value: float, low: float, high: float, expected: str
) -> None:
    """1.5 is 15 % away from 1.3, however wide the interval."""
    assert word(stored_as(tmp_path, one=with_arm("planted", value, low, high)), "planted") == expected


@pytest.mark.parametrize(
    ("value", "verdict", "expected"),
    [(1.0, "no difference", "reached"), (1.0 + 1e-12, "hurts", "reached"), (1.1, "accelerates", "missed")],
)
def test_a_control_that_poses_as_a_method_must_not_win(
    tmp_path: Path, value: float, verdict: str, expected: str
) -> None:
    """Its ratio to itself is one, up to rounding."""
    document = with_arm("boost-as-method", value, 0.9, 1.2, verdict=verdict)
    assert word(stored_as(tmp_path, one=document), "boost-as-method") == expected


@pytest.mark.parametrize(
    ("arm", "expected"), [("self", "missed"), ("planted", "missed"), ("boost-as-method", "reached")]
)
def test_a_calibration_that_diverged_is_not_missing(tmp_path: Path, arm: str, expected: str) -> None:
    """Stored as a ratio of 0 without an interval; only the arm that must not win has done what it must."""
    document = with_arm(arm, 0.0, 0.0, 0.0, verdict="hurts")
    document["workloads"]["mlp"]["arms"][arm]["measures"]["work_ratio"]["high"] = None
    assert word(stored_as(tmp_path, one=document), arm) == expected


@pytest.mark.parametrize("change", [{"baseline": "untuned"}, {"baseline": "open"}, {"budget": "quick"}])
def test_only_a_tuned_baseline_of_a_counting_budget_calibrates(tmp_path: Path, change: dict[str, str]) -> None:
    """The claims that a calibration vouches for have one."""
    assert word(stored_as(tmp_path, one=with_arm("self", 1.0, 0.95, 1.05, **change)), "self") == "not measured"


def test_the_evaluation_shows_what_was_found_for_them(tmp_path: Path) -> None:
    """True ratio, found ratio with interval and half width, and whether it was found."""
    stored_as(tmp_path / "runs", one=with_arm("planted", 1.31, 1.25, 1.38))
    page = build(tmp_path / "runs", tmp_path / "out", "evaluation").files["EVALUATION_REPORT.md"].decode()
    row = next(line for line in page.splitlines() if line.startswith("| mlp") and "| 1.30x" in line)
    assert "1.31x [1.25, 1.38]" in row
    assert "| yes" in row
