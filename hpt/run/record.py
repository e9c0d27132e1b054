"""What is known about a run of `hpt train`: the document `run.json`, read back and checked field by field."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, Like, NotNegative, Number, Size, Version1, open_ended
from hpt.records import jsonable

RUN_SCHEMA_VERSION = 1
RUNNING, DONE, INTERRUPTED, FAILED = "running", "done", "interrupted", "failed"


class _Settings(TypedDict, total=False):
    """As `hpt.run.settings.TrainSettings`."""

    workload: str | None
    predictor: str | None
    optimizer: str | None
    steps: Required[Size]
    seed: Count | None
    config: str | None
    data: str | None
    device: str | None
    dtype: str | None
    threads: Size | None
    log: list[str] | None


@open_ended
class _Config(TypedDict):
    predictor: str


@open_ended
class _WorkloadFacts(TypedDict):
    name: str
    chance_loss: Finite


@open_ended
class _Seconds(TypedDict, total=False):
    part: dict[str, NotNegative]


@open_ended
class _Decision(TypedDict):
    step: Count
    why: str


@open_ended
class _Values(TypedDict, total=False):
    decisions: list[_Decision]


@open_ended
class _Predictor(TypedDict, total=False):
    values: _Values | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """All that is known about a run; what is not known (yet) is None.

    Attributes:
        status: running, done, interrupted or failed; after a kill it stays running.
        command: the command line that began the run.
        settings: what that command line resolved to.
        config: every setting of the trainer.
        workload: name, chance_loss and the workload's own facts.
        seed: seed of weights, batches and the trainer.
        environment: versions and machine, of the latest part of the run.
        started_at: UTC, ISO 8601; `finished_at` likewise.
        num_resumes: how often the run was taken up again.
        earlier_steps: lengths that it was planned for, and finished at, before it was extended.
        message: why it failed, or what failed after it was done.
        num_updates: net optimizer updates; `num_calls` batches consumed.
        phases: calls by phase.
        counters: work and jumps, see `hpt.trainer`.
        seconds: by phase and by part.
        wall_s: seconds inside the trainer, all parts of the run together.
        final_loss: mean loss on the fixed validation set.
        confidence: how well the confidence was calibrated.
        predictor: what the predictor learned, and what it decided.
        troubles: how often something went wrong without ending the run, see `hpt.run.trouble`.
    """

    status: Annotated[str, Field(pattern=f"^({RUNNING}|{DONE}|{INTERRUPTED}|{FAILED})$")]
    command: list[str]
    settings: Annotated[dict[str, Any], Like(_Settings)]
    config: Annotated[dict[str, Any], Like(_Config)]
    workload: Annotated[dict[str, Any], Like(_WorkloadFacts)]
    seed: int
    environment: dict[str, Any]
    started_at: str
    finished_at: str | None = None
    num_resumes: Count = 0
    earlier_steps: list[Count] = field(default_factory=list[int])
    message: str | None = None
    num_updates: Count | None = None
    num_calls: Count | None = None
    phases: dict[str, Any] | None = None
    counters: dict[str, Any] | None = None
    seconds: Annotated[dict[str, Any], Like(_Seconds)] | None = None
    wall_s: NotNegative | None = None
    final_loss: Number | None = None
    confidence: dict[str, Any] | None = None
    predictor: Annotated[dict[str, Any], Like(_Predictor)] | None = None
    troubles: dict[str, Count] = field(default_factory=dict[str, int])
    schema_version: Version1 = RUN_SCHEMA_VERSION

    def to_document(self) -> dict[str, Any]:
        """Strict JSON values; non-finite floats as strings."""
        return jsonable(asdict(self))
