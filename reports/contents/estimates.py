"""estimates.json of `scripts/measure_estimates.py`."""

from typing import Annotated, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Size, Version1
from hpt_reports.contents.origin import Stored


class _Measured(TypedDict):
    peak_bytes: Count
    device_name: NotRequired[str | None]


class _Estimated(TypedDict):
    total_bytes: Count


class _Row(TypedDict):
    name: str
    measured: dict[str, _Measured]
    estimated: dict[str, _Estimated]
    error_frac: dict[str, Finite]
    falsely_fits: list[str]


class _Summary(TypedDict):
    configurations: Size
    median_error_frac: NotNegative
    worst_error_frac: NotNegative
    falsely_fits: list[str]


class _Estimates(Stored):
    schema_version: Version1
    summary: dict[str, _Summary | None]
    rows: Annotated[list[_Row], Field(min_length=1)]


def _is_whole(one: _Estimates) -> _Estimates:
    for row in one["rows"]:
        if set(row["measured"]) != set(row["error_frac"]) or not {"cpu", "cuda"} <= set(row["estimated"]):
            raise ValueError(
                f"row {row['name']} must have estimates for cpu and cuda, and an error for each measurement"
            )
    return one


Estimates = Annotated[_Estimates, AfterValidator(_is_whole)]
"""Estimated peaks of memory beside measured ones, by way of measuring."""
