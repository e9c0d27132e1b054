"""value_models.json of `scripts/fit_values.py`."""

from typing import Annotated

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Size, Version1
from hpt_reports.contents.origin import Stored

PRIOR = "prior"
_Frac = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Difference(TypedDict):
    value: Finite
    error: NotNegative | None


class _Bin(TypedDict):
    count: Count
    mean_probability: _Frac | None
    frequency: _Frac | None


class _Reliability(TypedDict):
    count: Size
    brier: _Frac
    sample_rate_brier: _Frac
    table: list[_Bin]


class _Score(TypedDict):
    num_runs: Size
    nll: Finite | None
    nll_over_prior: _Difference | None
    worth: Finite
    gap_recovered: Finite
    reliability: _Reliability | None


class _Split(TypedDict):
    best_fixed: str
    fixed_worth: Finite
    best_worth: Finite
    models: Annotated[dict[str, _Score], Field(min_length=1)]


class _Scored(Stored):
    schema_version: Version1
    num_runs: Size
    num_workloads: Size
    num_optimizers: Size
    models: Annotated[dict[str, str], Field(min_length=1)]
    left_out: Annotated[dict[str, _Split | None], Field(min_length=1)]


def _has_prior(one: _Scored) -> _Scored:
    for what, split in one["left_out"].items():
        if split is None:
            continue
        unknown = set(split["models"]) - set(one["models"])
        if unknown:
            raise ValueError(f"left_out.{what} scores {min(unknown)}, which models does not describe")
        if PRIOR not in split["models"]:
            raise ValueError(f"left_out.{what} must score the {PRIOR}, which all are held against")
    return one


ValueModels = Annotated[_Scored, AfterValidator(_has_prior)]
"""How well beliefs about the worth of policies did on runs that they had not seen."""
