"""large.json of `scripts/summarize_large.py`."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, Positive, Size, Version1
from hpt_reports.contents.origin import Stored


class _Policy(TypedDict):
    policy: str
    losses: Annotated[dict[str, Finite | None], Field(min_length=1)]
    jumps: Count
    steps_ratio: dict[str, Positive]


class _Row(TypedDict):
    workload: str
    optimizer: str
    steps: Size
    lr_factor: Positive
    longer_steps: Size
    longer_losses: dict[str, Finite | None]
    policies: Annotated[list[_Policy], Field(min_length=1)]


class _Trials(TypedDict):
    workload: str
    optimizer: str
    steps: Size
    losses: Annotated[dict[str, Finite | None], Field(min_length=1)]


class Large(Stored):
    """Runs of models for a GPU, with and without jumps."""

    schema_version: Version1
    autocast: dict[str, str]
    rows: Annotated[list[_Row], Field(min_length=1)]
    trials: list[_Trials]
