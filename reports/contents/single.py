"""Documents of a single file: a profile, a run, paired runs, an overhead, alarms, a release check."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Number, Size, Version1
from hpt_reports.contents.comparison import Interval
from hpt_reports.contents.decided import Values
from hpt_reports.contents.origin import Machine, Stored


def _adds_up(times: dict[str, float]) -> dict[str, float]:
    if not sum(times.values()) > 0.0:
        raise ValueError("its times add up to nothing")
    return times


_Times = Annotated[dict[str, NotNegative], AfterValidator(_adds_up)]


class _Parts(TypedDict):
    part_s: _Times
    cost_ratio: Interval
    predicted_cost_ratio: Finite | None
    jump_cost_ratio: Finite | None
    whole_cost_ratio: Finite | None


class _Speed(TypedDict):
    steps_ratio: Finite | None
    wall_ratio: Finite | None
    predicted_wall_ratio: Finite | None
    nominal_wall_ratio: Finite | None


class _Projected(TypedDict):
    parameters: NotNegative
    plain_step_s: Finite
    cost_ratio: Finite
    jump_cost_ratio: Finite | None


class _Projection(TypedDict):
    models: NotRequired[dict[str, _Projected] | None]


def _name_of_workload(value: Any) -> Any:
    return value.get("workload") or value.get("name") if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType]


class Profile(Stored):
    """profile.json of `hpt profile`."""

    schema_version: Version1
    workload: Annotated[str, BeforeValidator(_name_of_workload)]
    parts: _Parts
    speed: _Speed
    projection: NotRequired[_Projection | None]


class _Named(TypedDict):
    name: str


class _Config(TypedDict):
    predictor: str


class _Counters(TypedDict, total=False):
    full_step_equivalents: Finite | None
    jumps_accepted: Count | None


class _TrainSettings(TypedDict):
    steps: Size


class _Trained(TypedDict):
    values: NotRequired[Values | None]


class Training(Stored):
    """run.json of `hpt train`."""

    schema_version: Version1
    workload: _Named
    config: _Config
    settings: _TrainSettings
    seed: int
    status: str
    final_loss: NotRequired[Number | None]
    num_updates: NotRequired[Count | None]
    counters: NotRequired[_Counters | None]
    predictor: NotRequired[_Trained | None]


class _Fork(TypedDict):
    step: Count
    immediate: Finite
    value: Finite
    value_se: Finite
    kept_jump: bool


class _Score(TypedDict):
    nll_mean: Number


class _Predictor(TypedDict):
    scores: NotRequired[dict[str, _Score] | None]


class _Confidence(TypedDict):
    brier: NotRequired[Finite | None]
    base_rate_brier: NotRequired[Finite | None]


class _CellCounters(TypedDict):
    steps_covered_by_jumps: NotNegative
    optimizer_updates: NotNegative


class _Seconds(TypedDict):
    phase: _Times
    part: _Times


class _Cell(TypedDict):
    arm: str
    seed: int
    final_loss: Number | None
    forks: NotRequired[list[_Fork] | None]
    predictor: NotRequired[_Predictor | None]
    confidence: NotRequired[_Confidence | None]
    environment: NotRequired[Machine | None]
    seconds: NotRequired[_Seconds]
    phases: NotRequired[dict[str, Count]]
    counters: NotRequired[_CellCounters]


def _timed_every_phase(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """Times are read of the default arm alone."""
    if cell["arm"] == "default":
        lacking = [name for name in ("seconds", "phases", "counters") if name not in cell]
        lacking += [] if lacking else [f"seconds.phase.{one}" for one in cell["phases"] if not _timed(cell, one)]
        if lacking:
            raise ValueError(f"it has no {lacking[0]}")
    return cell


def _timed(cell: Mapping[str, Any], phase: str) -> bool:
    return phase in cell["seconds"]["phase"] or not cell["phases"][phase]


class Prediction(Stored):
    """Paired runs of `hpt compare`."""

    workload: str
    steps: Count
    threads: Size
    cells: Annotated[list[Annotated[_Cell, AfterValidator(_timed_every_phase)]], Field(min_length=1)]


class Overhead(Stored):
    """Of a full step."""

    workload: str
    ratio: Finite
    ratio_low: Finite
    ratio_high: Finite
    plain_step_s: Finite
    blocks: Count
    block_steps: Count
    threads: Size


class _MedianInterval(TypedDict):
    median: Finite
    low: Finite
    high: Finite


class _Run(TypedDict):
    environment: NotRequired[Machine | None]


class _Pair(TypedDict):
    rssm: _Run
    none: _Run


class Wall(Stored):
    """Wall time of pairs of runs."""

    workload: str
    steps: Count
    wall_ratio: _MedianInterval
    loss_ratio: Finite
    pairs: Annotated[list[_Pair], Field(min_length=1)]


class _SameCode(TypedDict):
    num_comparisons: Count
    num_with_alarm: Count


class _Planted(TypedDict):
    num_scenarios: Count
    num_caught: Count
    slowdown_frac: Finite


class Alarms(Stored):
    """Of `scripts/measure_alarms.py`."""

    same_code: _SameCode
    planted: _Planted


class _Healthy(TypedDict):
    name: str
    killed: str | None
    num_rollbacks: Count
    num_unwarranted: Count
    num_jumps: Count
    num_jumps_undone: Count
    num_jumps_undone_unwarranted: Count
    final_loss: Finite | None
    plain_final_loss: Finite
    events: dict[str, Count]


class _Fault(TypedDict):
    kind: str
    name: str
    run: str
    caught_after_losses: Count | None
    limit_losses: Count
    killed: str | None
    final_loss: Finite | None
    healthy_final_loss: Finite


class Survival(Stored):
    """Of `scripts/measure_survival.py`."""

    schema_version: Version1
    steps: Count
    healthy: list[_Healthy]
    planted: list[_Fault]


class _Step(TypedDict):
    name: str
    what: str
    command: str
    status: str
    exit_code: int | None
    duration_s: NotNegative | None
    tests: NotRequired[dict[str, Count] | None]


class Release(Stored):
    """Of `hpt release-check`."""

    schema_version: Version1
    steps: Annotated[list[_Step], Field(min_length=1)]
