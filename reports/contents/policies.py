"""policies.json of `scripts/study_forks.py`."""

from typing import Annotated, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Number, Positive, Size, Version1
from hpt_reports.contents.origin import Stored


class _Setting(TypedDict):
    workload: str
    optimizer: str
    steps: Size
    lr_factor: Positive
    rates: NotRequired[list[Positive]]
    loss_per_e_fold: Positive
    worth_by_seed: Annotated[dict[str, list[Finite]], Field(min_length=1)]
    early_by_seed: NotRequired[dict[str, list[Finite]]]
    arms_by_seed: NotRequired[dict[str, dict[str, Finite]]]


class _Unseen(TypedDict):
    workload: str
    optimizer: str
    steps: Size
    rates: Annotated[list[Positive], Field(min_length=1)]
    saved_by_seed: Annotated[dict[str, Finite], Field(min_length=1)]


class _Candidate(TypedDict):
    num_jumps: Size
    settle_steps: Size
    progress: NotNegative
    pairs: Size
    right: dict[str, Count]
    right_corrected: dict[str, Count]
    correlation: dict[str, Number]
    cost_frac: NotNegative


class _Study(Stored):
    schema_version: Version1
    policies: Annotated[list[str], Field(min_length=1)]
    worth: Annotated[list[_Setting], Field(min_length=1)]
    candidates: list[_Candidate]
    unseen: NotRequired[list[_Unseen]]


def _is_whole(one: _Study) -> _Study:
    size, names = len(one["policies"]), set(one["policies"])
    for setting in one["worth"]:
        for field in ("worth_by_seed", "early_by_seed"):
            if any(len(row) != size for row in setting.get(field, {}).values()):
                raise ValueError(f"{field} of {setting['workload']} must have {size} numbers a seed, one a policy")
        if unknown := set(setting.get("arms_by_seed", {})) - set(setting["worth_by_seed"]):
            raise ValueError(
                f"arms_by_seed of {setting['workload']} has seed {min(unknown)}, which worth_by_seed lacks"
            )
    for candidate in one["candidates"]:
        for field in ("right", "right_corrected", "correlation"):
            if set(candidate[field]) != names:
                raise ValueError(f"candidates.{field} must have the policies {', '.join(one['policies'])}")
    return one


Policies = Annotated[_Study, AfterValidator(_is_whole)]
"""What policies were worth in full runs, and how often forks said so."""
