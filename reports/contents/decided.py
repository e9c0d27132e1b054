"""What a run decided to play and why: in summary.json of `hpt compare`, in run.json of `hpt train`, and the prior."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, NotNegative, Number, Version1


class _Decision(TypedDict):
    step: Count
    policy: str
    means: Annotated[dict[str, Finite], Field(min_length=1)]
    sds: dict[str, NotNegative]
    why: str


def _tells_every_spread(decision: Mapping[str, Any]) -> Mapping[str, Any]:
    lacking = sorted(set(decision["means"]) - set(decision["sds"]))
    if lacking:
        raise ValueError(f"sds has no {lacking[0]}, which means has")
    return decision


Decision = Annotated[_Decision, AfterValidator(_tells_every_spread)]


class SeedDecision(_Decision):
    """Of one run among others."""

    seed: int


class Fork(TypedDict):
    """Of one run among others; those of earlier days were over a single jump and name no policy."""

    seed: int
    step: Count
    policy: NotRequired[str]
    value: Number
    value_se: NotRequired[Number]
    goes_on: NotRequired[bool]


class JumpValues(TypedDict):
    """What the forks of an arm measured."""

    forks: list[Fork]


class _Measurement(TypedDict):
    step: Count
    policy: str
    value: Finite | None
    value_se: Finite | None


class Values(TypedDict, total=False):
    """Of a single run; runs of earlier days made no decisions."""

    decisions: list[Decision]
    measurements: list[_Measurement]


class _Entry(TypedDict):
    mean: list[Finite]
    covariance: list[list[Finite]]
    runs: list[Any]


class Prior(TypedDict):
    """prior.json of the package."""

    schema_version: Version1
    policies: list[str]
    entries: dict[str, _Entry]


ArmDecisions = list[Annotated[SeedDecision, AfterValidator(_tells_every_spread)]]
