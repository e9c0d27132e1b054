"""run.json of `hpt validate-vram`, and steps.csv beside it."""

from typing import Annotated, Any, NotRequired

from pydantic import BeforeValidator
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, Size, Version1
from hpt_reports.contents.origin import Stored


class _Growth(TypedDict):
    per_step: Finite
    low: Finite
    high: Finite


class _Arm(TypedDict, total=False):
    status: str | None
    peak_bytes: Finite | None
    ratio: Finite | None
    growth: _Growth | None
    step_s: Finite | None
    peak_by_phase: dict[str, Finite | None] | None
    items: dict[str, Finite | None] | None
    num_copies: Count | None
    num_cleanups: Count | None


class _Drill(TypedDict, total=False):
    status: str | None
    model: str
    passed: bool | None
    saved_bytes: Finite | None
    cost_s: Finite | None
    evidence: str | None
    failed: str | None


class _Estimate(TypedDict, total=False):
    plain_peak_bytes: Finite | None
    hybrid_peak_bytes: Finite | None
    ratio: Finite | None
    batch_size: Count | None
    seq_len: Count | None


class _Check(TypedDict):
    name: str
    threshold: str
    evidence: str
    verdict: str
    value: Finite | None


class _MemorySettings(TypedDict):
    model: str
    device: str
    batch_size: NotRequired[Count | None]
    seq_len: NotRequired[Count | None]
    steps: NotRequired[Count]
    dtype: NotRequired[str]
    seed: NotRequired[int]
    processes: NotRequired[Size]


class Memory(Stored):
    """run.json of `hpt validate-vram`."""

    schema_version: Version1
    measured: NotRequired[str | None]
    settings: _MemorySettings
    arms: dict[str, _Arm]
    drills: dict[str, _Drill]
    estimates: dict[str, _Estimate | None]
    checks: list[_Check]


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


_Reading = Annotated[Count | None, BeforeValidator(_none_if_empty)]


class Call(TypedDict):
    """A row of steps.csv beside a memory validation."""

    arm: str
    call: Count
    phase: str
    allocated_bytes: _Reading
    reserved_bytes: _Reading
    process_bytes: _Reading
    peak_bytes: _Reading
