"""Each verdict on results made by hand: good ones pass, and each way to be bad fails its check and no other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hpt.validate import plan
from hpt.validate.checks import check_all
from hpt.validate.results import DONE, FAILED, ValidationResult
from hpt.validate.verdicts import Check, verdict_of

MB = 1_000_000
BASELINE = 300 * MB


def _step(call: int, phase: str, use: float, peak: float, loss: float = 1.0) -> dict[str, Any]:
    return {
        "call": call,
        "step": call,
        "phase": phase,
        "loss": loss,
        "allocated_bytes": None,
        "reserved_bytes": None,
        "process_bytes": BASELINE + int(use * MB),
        "device_bytes": None,
        "peak_bytes": BASELINE + int(peak * MB),
        "wall_s": 0.1,
    }


def _arm(name: str, peak: float, copies: int = 0, extra: float = 0.0) -> ValidationResult:
    phases = ["WARMUP"] * 8 + (["FULL"] * 16 + ["PREDICT"] + ["CORRECT"] * 3 + ["FULL"] * 22)
    jitter = (0.0, 0.01, -0.01)
    steps = [_step(index + 1, phase, 50 + jitter[index % 3], peak) for index, phase in enumerate(phases)]
    end = {
        "items": {"trajectory": 20 * MB, "snapshot": 20 * MB},
        "placement": {"trajectory": "cpu", "snapshot": "cpu"},
        "num_copies": copies,
        "jump_extra_bytes": int(extra * MB),
        "num_cleanups": 1,
        "freed_bytes": 0,
        "phases": {"WARMUP": 8, "FULL": 38, "PREDICT": 4, "CORRECT": 11},
        "counters": {"jumps_accepted": 4, "jumps_rolled_back": 1},
        "seconds": {"part": {"jump": 0.01}},
        "trainer_wall_s": 10.0,
        "probe_s": 0.01,
        "read_s": 1e-5,
    }
    return ValidationResult(name, DONE, 0, start={"baseline_bytes": BASELINE}, steps=steps, end=end)


def _good() -> dict[str, dict[str, ValidationResult]]:
    arms = {
        plan.PLAIN: _arm(plan.PLAIN, 60),
        plan.HYBRID: _arm(plan.HYBRID, 101),
        plan.OUT_OF_PLACE: _arm(plan.OUT_OF_PLACE, 103, copies=80, extra=6.0),
        plan.NO_CLEANUP: _arm(plan.NO_CLEANUP, 102),
    }
    drill = {"passed": True, "saved_bytes": None, "evidence": "seen"}
    host = {"plain_peak_bytes": 59 * MB}
    cuda = {
        "ratio": 1.0,
        "host_pinned_bytes": {"trajectory": 1, "snapshot": 1},
        "hybrid_peak_bytes": MB,
        "plain_peak_bytes": MB,
        "batch_size": 1,
        "seq_len": 8,
    }
    return {
        "arms": arms,
        "drills": {"record": ValidationResult("record", DONE, 0, end=drill)},
        "estimates": {
            "host": ValidationResult("host", DONE, 0, end=host),
            "cuda": ValidationResult("cuda", DONE, 0, end=cuda),
        },
    }


def _verdicts(results: dict[str, dict[str, ValidationResult]], device: str = "cpu") -> dict[str, str]:
    return {check.name: check.verdict for check in check_all(**results, device_type=device)}


def test_good_results_pass_everything() -> None:
    """Nothing fails, the ratio on a CPU and layer 2 in the arms are only reported."""
    verdicts = _verdicts(_good())
    reported = {name for name, verdict in verdicts.items() if verdict == "reported"}
    assert reported == {"peak over plain", "layer 2 saves in the arms"}
    assert {verdict for name, verdict in verdicts.items() if name not in reported} == {"passed"}
    assert verdict_of(check_all(**_good(), device_type="cpu")) == "passed"


def _changed(arm: ValidationResult, **end: Any) -> ValidationResult:
    return replace(arm, end={**arm.end, **end})


def _steps(arm: ValidationResult, change: Callable[[dict[str, Any]], dict[str, Any]]) -> ValidationResult:
    return replace(arm, steps=[change(dict(step)) for step in arm.steps])


def _grows(step: dict[str, Any]) -> dict[str, Any]:
    return step | {"process_bytes": step["process_bytes"] + 2 * MB * step["call"]}


def _jumps_about(step: dict[str, Any]) -> dict[str, Any]:
    return step | {"process_bytes": step["process_bytes"] + 200 * MB * (step["call"] % 7)}


def _wavers(step: dict[str, Any]) -> dict[str, Any]:
    return step | {"process_bytes": step["process_bytes"] + int(0.6 * MB) * step["call"] + 6 * MB * (step["call"] % 7)}


def _unread(step: dict[str, Any]) -> dict[str, Any]:
    return step | {"peak_bytes": None, "process_bytes": None}


BAD: list[tuple[str, str, str, Callable[[ValidationResult], ValidationResult]]] = [
    ("everything ran", "failed", plan.NO_CLEANUP, lambda arm: replace(arm, status=FAILED, exit_code=7, message="no")),
    ("copies", "failed", plan.HYBRID, lambda arm: _changed(arm, num_copies=1)),
    ("growth", "failed", plan.HYBRID, lambda arm: _steps(arm, _grows)),
    (
        "growth",
        "inconclusive",
        plan.HYBRID,
        lambda arm: _steps(arm, _jumps_about),
    ),  # an interval too wide for any limit
    ("growth", "inconclusive", plan.HYBRID, lambda arm: _steps(arm, _wavers)),  # the limit lies in the interval
    ("cost of watching memory", "failed", plan.HYBRID, lambda arm: _changed(arm, probe_s=0.06)),
    (
        "forced cycle: hybrid",
        "failed",
        plan.HYBRID,
        lambda arm: _changed(arm, counters={"jumps_accepted": 3, "jumps_rolled_back": 1}),
    ),
    (
        "forced cycle: hybrid",
        "failed",
        plan.HYBRID,
        lambda arm: _changed(arm, counters={"jumps_accepted": 4, "jumps_rolled_back": 0}),
    ),
    (
        "forced cycle: hybrid",
        "failed",
        plan.HYBRID,
        lambda arm: _changed(arm, phases={"WARMUP": 8, "FULL": 42, "PREDICT": 0, "CORRECT": 0}),
    ),
    (
        "same training before the first jump",
        "failed",
        plan.HYBRID,
        lambda arm: _steps(arm, lambda step: step | {"loss": 1.1}),
    ),
    (
        "peak is plain + trajectory + snapshot",
        "failed",
        plan.HYBRID,
        lambda arm: _steps(arm, lambda step: step | {"peak_bytes": step["peak_bytes"] + 6 * MB}),
    ),
    ("layer 1 saves", "failed", plan.OUT_OF_PLACE, lambda arm: _changed(arm, num_copies=0)),
    ("layer 1 saves", "failed", plan.OUT_OF_PLACE, lambda arm: _changed(arm, jump_extra_bytes=0)),
    (
        "estimate against measurement",
        "failed",
        plan.PLAIN,
        lambda arm: _steps(arm, lambda step: step | {"peak_bytes": BASELINE + 50 * MB}),
    ),
]


@pytest.mark.parametrize(("check", "verdict", "arm", "change"), BAD)
def test_each_defect_has_its_verdict(
    check: str, verdict: str, arm: str, change: Callable[[ValidationResult], ValidationResult]
) -> None:
    """One result is spoilt; the check that is there for it says so, and the whole is not passed."""
    results = _good()
    results["arms"][arm] = change(results["arms"][arm])
    verdicts = _verdicts(results)
    assert verdicts[check] == verdict
    assert verdict_of(check_all(**results, device_type="cpu")) == verdict


def test_unread_memory_is_never_a_pass() -> None:
    """Peaks and uses that are None fail their checks or leave them open; none of them passes."""
    results = _good()
    for name, arm in results["arms"].items():
        results["arms"][name] = _steps(arm, _unread)
    verdicts = _verdicts(results)
    for name in ("peak over plain", "peak is plain + trajectory + snapshot", "estimate against measurement"):
        assert verdicts[name] == "failed"
    assert verdicts["growth"] == "inconclusive"


def test_a_failed_drill_and_a_drill_that_did_not_run_fail() -> None:
    """Both ways."""
    results = _good()
    results["drills"]["record"] = replace(
        results["drills"]["record"], end={"passed": False, "saved_bytes": 1, "evidence": ""}
    )
    assert _verdicts(results)["drill: record"] == "failed"
    results["drills"]["record"] = ValidationResult("record", FAILED, -9, "ended by signal 9")
    assert _verdicts(results)["everything ran"] == "failed"


def test_nothing_at_all_is_a_failure() -> None:
    """A validation in which nothing ran has not passed."""
    assert verdict_of(check_all({}, {}, {}, "cpu")) == "failed"
    assert verdict_of([]) == "failed"


def test_on_cuda_the_ratio_is_judged_and_growth_is_tighter() -> None:
    """101 over 60 is above 1.10, and 0.1 MB/step is above 0.05."""
    results = _good()

    def on_gpu(step: dict[str, Any]) -> dict[str, Any]:
        return step | {"allocated_bytes": 50 * MB + int(0.1 * MB * step["call"])}

    results["arms"] = {name: _steps(arm, on_gpu) for name, arm in results["arms"].items()}
    verdicts = _verdicts(results, "cuda")
    assert verdicts["peak over plain"] == "failed"
    assert verdicts["growth"] == "failed"
    assert verdicts["pinned host memory"] == "reported"
    assert _verdicts({**results, "estimates": {}})["growth"] == "passed"


def _in_ranks(*ranks: dict[str, dict[str, ValidationResult]]) -> list[Check]:
    """Checks of arms of which each process said what is given for it."""
    first = ranks[0]["arms"]
    arms = {name: replace(arm, ranks=tuple(one["arms"][name] for one in ranks)) for name, arm in first.items()}
    return check_all({**arms}, {}, {}, "cpu")


OF_RANKS = [one for one in BAD if one[0] not in {"everything ran", "estimate against measurement"}]
"""Those of an arm as a whole, and of none with several processes, left out."""


@pytest.mark.parametrize(("check", "verdict", "arm", "change"), OF_RANKS)
def test_of_several_processes_the_worst_is_judged(
    check: str, verdict: str, arm: str, change: Callable[[ValidationResult], ValidationResult]
) -> None:
    """A defect in the second of three has its verdict, and the second is named."""
    good, bad = _good(), _good()
    bad["arms"][arm] = change(bad["arms"][arm])
    found = {one.name: one for one in _in_ranks(good, bad, good)}[check]
    assert found.verdict == verdict
    assert found.evidence.startswith("rank 1, worst of 3: ")


def test_of_several_that_pass_the_nearest_to_the_threshold_is_told() -> None:
    """The largest ratio and the fewest kept jumps, which are numbers of different ranks."""
    few, much = _good(), _good()
    few["arms"][plan.HYBRID] = _changed(_arm(plan.HYBRID, 101), counters={"jumps_accepted": 5, "jumps_rolled_back": 1})
    much["arms"][plan.HYBRID] = _changed(_arm(plan.HYBRID, 102), counters={"jumps_accepted": 6, "jumps_rolled_back": 1})
    found = {one.name: one for one in _in_ranks(few, much)}
    assert found["peak over plain"].value == 102 / 60
    assert found["peak over plain"].evidence.startswith("rank 1, ")
    assert found["forced cycle: hybrid"].value == 4.0
    assert found["forced cycle: hybrid"].evidence.startswith("rank 0, ")
