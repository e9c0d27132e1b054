"""Where a measurement comes from: what any kind may say."""

from typing import Annotated, Any, NotRequired

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count


def _joined(value: Any) -> Any:
    return " ".join(str(word) for word in value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]


Commit = Annotated[str, Field(pattern="^[0-9a-f]{7,64}$")]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.:+]*Z?$")]
Command = Annotated[str, BeforeValidator(_joined)]
"""A line, or its words in a list."""


class Machine(TypedDict, total=False):
    """As `hpt.machine` describes it."""

    cpu_model: str | None
    num_cores: Count | None
    memory_bytes: Count | None
    device: str | None
    device_name: str | None
    threads: Count | None
    hpt: str | None
    python: str | None
    torch: str | None
    numpy: str | None
    commit: Commit | None
    is_dirty: bool | None
    commits: list[str] | None
    sources: dict[str, str] | None


class Stored(TypedDict, total=False):
    """What any kind may say of its origin."""

    machine: Machine | None
    environment: Machine | None
    command: Command | None
    finished_at: Moment | None
    written_at: Moment | None
    measured_at: Moment | None
    started_at: Moment | None


class Session(Stored):
    """machine.json beside timings."""

    failed: NotRequired[dict[str, Any] | None]
