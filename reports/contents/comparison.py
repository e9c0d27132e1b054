"""summary.json of `hpt compare`."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Number, Positive, Ratio, Size, Version1
from hpt_reports.contents.decided import ArmDecisions, JumpValues
from hpt_reports.contents.origin import Stored


class Interval(TypedDict):
    """A value and its 95 % interval."""

    value: Number
    low: Number | None
    high: Number | None


class _RatioInterval(TypedDict):
    value: Ratio
    low: Ratio | None
    high: Ratio | None
    bound: NotRequired[str | None]
    by_seed: NotRequired[list[Ratio] | None]


class _MaybeRatio(TypedDict):
    value: Ratio | None
    low: Ratio | None
    high: Ratio | None
    bound: NotRequired[str | None]
    by_seed: NotRequired[list[Ratio] | None]


class _Recipe(TypedDict):
    lr_factor: Positive
    shape: str
    memory: Finite | None


class _Trial(TypedDict):
    lr_factor: Positive
    shape: str
    memory: Finite | None
    loss: Number | None


class _Tuned(TypedDict):
    recipe: _Recipe
    source: str
    bracket_closed: NotRequired[bool | None]
    trials: NotRequired[list[_Trial] | None]


class _WorstSeed(TypedDict):
    work_ratio: Ratio | None


class _Measures(TypedDict):
    work_ratio: _RatioInterval
    steps_ratio: _MaybeRatio | None
    wall_ratio: _MaybeRatio | None
    loss_change: Interval
    backwards_saved_frac: Number | None
    peak_host_bytes: Finite | None
    worst_seed: _WorstSeed
    num_diverged: Count
    seeds: list[int]
    final_losses: NotRequired[list[Number | None] | None]


class _OverControl(TypedDict):
    value: Ratio


class _Judgement(TypedDict):
    verdict: str
    over_control: NotRequired[_OverControl | None]


class _Bin(TypedDict):
    mean_confidence: Number
    good_frac: Number
    count: NotNegative


class _Score(TypedDict):
    nll_mean: Number | None
    count: Count


class _Side(TypedDict):
    steps_ratio: _RatioInterval
    work_ratio: _RatioInterval
    judgement: _Judgement


_Over = dict[str, _RatioInterval]
_Curve = list[tuple[Finite, Number, Number, Number]]


class _ComparedArm(TypedDict):
    role: str
    optimizer: NotRequired[str | None]
    own: NotRequired[_Side | None]
    over: NotRequired[_Over | None]
    known_ratio: NotRequired[Positive | None]
    tuned: _Tuned | None
    measures: _Measures | None
    judgement: NotRequired[_Judgement | None]
    sentence: NotRequired[str | None]
    curve: NotRequired[_Curve | None]
    reliability: NotRequired[list[_Bin] | None]
    forecasts: NotRequired[dict[str, _Score] | None]
    jump_values: NotRequired[JumpValues | None]
    decisions: NotRequired[ArmDecisions | None]


def _has_what_measures_need(arm: Mapping[str, Any]) -> Mapping[str, Any]:
    if arm["measures"] is not None:
        lacking = [name for name in ("judgement", "sentence", "curve") if arm.get(name) is None]
        lacking += [name for name in ("known_ratio", "reliability") if name not in arm]
        if lacking:
            raise ValueError(f"it has measures, but no {lacking[0]}")
    return arm


class _Length(TypedDict):
    steps: Size
    mean_loss: Number


class _Baseline(TypedDict):
    tuned: _Tuned
    lengths: list[_Length]
    seed_sd: Number | None
    work_per_update: NotRequired[Finite | None]


class _Best(TypedDict):
    optimizer: str
    chosen_by: str


class _OverallHeadline(TypedDict):
    over_own: _Side
    over_reference: _Side
    sentence: str


class _Headline(_OverallHeadline):
    optimizer: str
    arm: str


class _Workload(TypedDict):
    steps: Size
    num_weights: NotRequired[Size | None]
    best: NotRequired[_Best | None]
    trained_alike: NotRequired[dict[str, str]]
    optimizers: NotRequired[dict[str, _Baseline | None]]
    headline: NotRequired[_Headline | None]
    chance_loss: Number | None
    baseline: _Baseline | None
    baseline_curve: _Curve
    arms: dict[str, Annotated[_ComparedArm, AfterValidator(_has_what_measures_need)]]


def _has_full_length(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    base = workload["baseline"]
    if base is not None and all(one["steps"] != workload["steps"] for one in base["lengths"]):
        raise ValueError(f"its baseline has no run at the full length of {workload['steps']} steps")
    return workload


class _Overall(TypedDict):
    role: str
    work_ratio: _RatioInterval
    steps_ratio: _MaybeRatio | None
    judgement: _Judgement
    sentence: str
    over: NotRequired[_Over | None]


class _Task(TypedDict):
    workload: str
    steps: Size


class _ComparisonSettings(TypedDict):
    budget: str
    tasks: NotRequired[list[_Task]]
    arms: NotRequired[list[str]]
    dtype: NotRequired[str | None]
    data: NotRequired[str | None]
    optimizers: NotRequired[Annotated[list[str], Field(min_length=1)]]
    device: str
    threads: Size
    seeds: Annotated[list[int], Field(min_length=1)]


class _Code(TypedDict):
    sources: dict[str, str]
    runs: dict[str, list[str]]


class _Comparison(Stored):
    schema_version: Version1
    code: NotRequired[list[_Code] | None]
    settings: _ComparisonSettings
    complete: NotRequired[bool]
    failed: NotRequired[dict[str, Any] | None]
    workloads: dict[str, Annotated[_Workload, AfterValidator(_has_full_length)]]
    overall: dict[str, _Overall]
    headline: NotRequired[_OverallHeadline | None]


def _covers_all(comparison: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, workload in comparison["workloads"].items():
        lacking = sorted(set(comparison["overall"]) - set(workload["arms"]))
        if lacking:
            raise ValueError(f"workloads.{name}.arms has no {lacking[0]}, which overall has")
    return comparison


def _knows_its_optimizers(comparison: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a workload says of its best optimizer is about an optimizer and an arm that were measured there."""
    for name, workload in comparison["workloads"].items():
        there, head = workload.get("optimizers", {}), workload.get("headline")
        named = {"settings.optimizers has": set(comparison["settings"].get("optimizers", ())) if there else set[str]()}
        named["best has"] = {best["optimizer"]} if (best := workload.get("best")) is not None and there else set()
        lacking = [f"optimizers has no {one}, which {who}" for who, each in named.items() for one in each - set(there)]
        if head is not None and (workload["arms"].get(head["arm"]) or {}).get("measures") is None:
            lacking.append(f"headline.arm is {head['arm']!r}, it must be a measured arm")
        if lacking:
            raise ValueError(f"workloads.{name}.{sorted(lacking)[0]}")
    return comparison


Comparison = Annotated[_Comparison, AfterValidator(_covers_all), AfterValidator(_knows_its_optimizers)]
"""summary.json of `hpt compare`."""
