"""Documents of a single file: a profile, a run, an overhead, alarms, a release check."""

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Number, Size, Version1
from hpt_reports.contents.comparison import Interval
from hpt_reports.contents.decided import Values
from hpt_reports.contents.origin import Stored


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


class _Seconds(TypedDict):
    phase: dict[str, NotNegative]
    part: dict[str, NotNegative]


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
    phases: NotRequired[dict[str, Count] | None]
    counters: NotRequired[_Counters | None]
    seconds: NotRequired[_Seconds | None]
    predictor: NotRequired[_Trained | None]


class _Estimate(TypedDict):
    value: Finite
    low: Finite
    high: Finite


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
    difference_s: NotRequired[_Estimate | None]


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
