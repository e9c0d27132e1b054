"""estimates.json of `scripts/measure_estimates.py`."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Size, Version1
from hpt_reports.contents.origin import Stored


class _Measured(TypedDict):
    peak_bytes: Count


class _Row(TypedDict):
    name: str
    measured: _Measured
    estimated_bytes: Count
    estimated_cuda_bytes: Count
    measured_cuda: str
    error_frac: Finite
    falsely_fits: bool


class _Summary(TypedDict):
    configurations: Size
    median_error_frac: NotNegative
    worst_error_frac: NotNegative
    falsely_fits: list[str]


class Estimates(Stored):
    """Estimated peaks of memory beside measured ones."""

    schema_version: Version1
    summary: _Summary
    rows: Annotated[list[_Row], Field(min_length=1)]
