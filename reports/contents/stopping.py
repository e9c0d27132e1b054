"""stopping.json of `scripts/measure_stopping.py`."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Size, Version1
from hpt_reports.contents.origin import Stored

_Frac = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Share(TypedDict):
    value: _Frac
    error: _Frac


class _Rule(TypedDict):
    what: str
    seeds_for_width: dict[str, Size | None]


class _Stop(TypedDict):
    plain_seeds: Size
    coverage: _Share
    mean_seeds: NotNegative


class _Simulated(TypedDict):
    differences: str
    what: str
    rule: str
    false_alarms: _Share
    stops: Annotated[list[_Stop], Field(min_length=1)]


class _Real(TypedDict):
    workload: str
    num_seeds: Size
    num_pairs: Size
    mean_log: Finite
    sd_log: NotNegative
    false_alarms: dict[str, _Share]


class Stopping(Stored):
    """False alarms of intervals that are looked at after every seed."""

    schema_version: Version1
    alpha: _Frac
    first_look: Count
    planned_looks: Count
    num_series: Size
    rules: dict[str, _Rule]
    simulated: list[_Simulated]
    real: list[_Real] | None
