"""Targets held against stored runs: reached, missed, inconclusive, not measured."""

import json
from pathlib import Path

import pytest
from references.stored_runs import write_timings

from hpt_reports.evidence import Evidence, gather
from hpt_reports.kinds import KINDS, OVERHEAD
from hpt_reports.targets import FINDERS, targets, verdict_of, verdicts

BY_ID = {one["id"]: one for one in targets()}


def word(evidence: Evidence, name: str) -> str:
    return verdict_of(BY_ID[name], evidence).word


def with_check(runs: Path, name: str, **changes: object) -> Evidence:
    """The stored memory validation as that of GPT-2, with one check changed."""
    file = runs / "vram" / "run.json"
    document = json.loads(file.read_text())
    document["settings"]["model"] = "gpt2"
    next(one for one in document["checks"] if one["name"] == name).update(changes)
    file.write_text(json.dumps(document))
    return gather(runs)


def with_work(runs: Path, value: float, low: float, verdict: str) -> Evidence:
    """The stored comparison as a standard one, with another work ratio of the default trainer on the MLP."""
    file = runs / "compare" / "summary.json"
    document = json.loads(file.read_text())
    document["settings"]["budget"] = "standard"
    arm = document["workloads"]["mlp"]["arms"]["hybrid"]
    arm["measures"]["work_ratio"].update(value=value, low=low, high=value + 0.1)
    arm["judgement"]["verdict"] = verdict
    document["workloads"]["byte-gpt"] = document["workloads"]["mlp"]
    file.write_text(json.dumps(document))
    return gather(runs)


def test_every_target_can_be_looked_up() -> None:
    """Each has a way to find its measurement, of a known kind, and a limit."""
    assert set(BY_ID) == set(FINDERS)
    assert all(kind in KINDS for kind, _ in FINDERS.values())
    assert all(float(one["limit"]) > 0 and one["must"] for one in BY_ID.values())


def test_without_runs_nothing_is_measured(tmp_path: Path) -> None:
    """And nothing is reached or missed."""
    assert {one.word for one in verdicts(gather(tmp_path))} == {"not measured"}


def test_a_tiny_model_says_nothing_about_the_target_of_gpt2(stored: Path) -> None:
    """The stored validation is of gpt2-nano."""
    assert word(gather(stored), "growth_host") == "not measured"


@pytest.mark.parametrize(
    ("value", "verdict", "expected"),
    [
        (0.3, "passed", "reached"),
        (1.2, "failed", "missed"),
        (-3.0, "passed", "reached"),
        (0.9, "inconclusive", "inconclusive"),
    ],
)
def test_growth_is_judged_by_its_upper_end(runs: Path, value: float, verdict: str, expected: str) -> None:
    """Shrinking is no growth; an interval too wide decides nothing."""
    assert word(with_check(runs, "growth", value=value, verdict=verdict), "growth_host") == expected


@pytest.mark.parametrize(("gap", "expected"), [(0.04, "reached"), (-0.04, "reached"), (-0.08, "missed")])
def test_the_peak_is_judged_by_its_gap_in_either_direction(runs: Path, gap: float, expected: str) -> None:
    """Less than the items add up to is as unexplained as more."""
    assert word(with_check(runs, "peak is plain + trajectory + snapshot", value=gap), "peak_host") == expected


@pytest.mark.parametrize(
    ("value", "low", "verdict", "on_gpt", "on_mlp"),
    [
        (1.40, 1.30, "accelerates", "reached", "reached"),
        (1.40, 0.90, "no difference", "missed", "reached"),
        (1.20, 1.10, "accelerates", "missed", "reached"),
        (1.00, 0.90, "no difference", "missed", "missed"),
        (1.15 - 2**-52, 0.90, "no difference", "missed", "reached"),  # the limit on the MLP, but for rounding
        (1.1499, 0.90, "no difference", "missed", "missed"),
    ],
)
def test_work_ratios_need_the_verdict_where_the_target_says_so(
    runs: Path, value: float, low: float, verdict: str, on_gpt: str, on_mlp: str
) -> None:
    """On the GPT the interval must lie above one and above the best control as well."""
    evidence = with_work(runs, value, low, verdict)
    assert (word(evidence, "work_byte-gpt"), word(evidence, "work_mlp")) == (on_gpt, on_mlp)


def test_a_quick_comparison_judges_no_target(stored: Path) -> None:
    """Its budget is for testing the tool."""
    assert word(gather(stored), "work_mlp") == "not measured"


def test_the_overhead_is_judged_where_the_fewest_threads_measured_it(runs: Path) -> None:
    """A newer measurement with one thread more, within the limit, is left alone."""
    one = next(iter(gather(runs).of(OVERHEAD)))
    newer = {**one.document, "threads": one.document["threads"] + 1, "measured_at": "2099-01-01T00:00:00+00:00"}
    newer |= {"ratio": 1.01, "ratio_low": 1.0, "ratio_high": 1.02}
    (runs / "two_threads.json").write_text(json.dumps(newer))
    assert len(gather(runs).of(OVERHEAD)) == 2
    assert word(gather(runs), "full_overhead") == "inconclusive"


@pytest.mark.parametrize(("more_s", "expected"), [(0.09e-3, "reached"), (0.2e-3, "missed"), (None, "not measured")])
def test_each_overhead_is_held_against_the_limit_of_its_workload(
    runs: Path, more_s: float | None, expected: str
) -> None:
    """That of the MLP, with fewer threads and newer, says nothing of the default workload; its seconds are judged."""
    one = next(iter(gather(runs).of(OVERHEAD)))
    more = None if more_s is None else {"value": more_s, "low": 0.99 * more_s, "high": 1.01 * more_s}
    mlp = {"workload": "mlp", "threads": 1, "measured_at": "2099-01-01T00:00:00+00:00", "difference_s": more}
    (runs / "mlp.json").write_text(
        json.dumps({**one.document, **mlp, "ratio": 1.5, "ratio_low": 1.4, "ratio_high": 1.6})
    )
    evidence = gather(runs)
    assert word(evidence, "own_time_mlp") == expected
    assert word(evidence, "full_overhead") == "inconclusive"


def test_a_limit_inside_the_interval_is_no_verdict(stored: Path) -> None:
    """The stored overhead is 9.5 %, but its interval reaches from 2.5 to 14 %, across the limit of 3 %."""
    assert word(gather(stored), "full_overhead") == "inconclusive"


def test_a_crooked_line_has_no_slope_to_judge(tmp_path: Path) -> None:
    """A single horizon off the line by far: the fit is poor, and the verdict says so."""
    file = write_timings(tmp_path)
    document = json.loads(file.read_text())
    for one in document["benchmarks"]:
        if one["metadata"]["name"] == "rssm_prediction/horizon_25":
            for run in one["runs"]:
                run["values"] = [50 * value for value in run["values"]]
    file.write_text(json.dumps(document))
    assert word(gather(tmp_path), "step_default") == "inconclusive"
