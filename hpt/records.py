"""What the trainer tells the world: immutable records, one JSON object a line.

The trainer never prints. It hands records to a sink (any callable); showing or storing them is the business of
other files. A value that is not available is None, never 0.

Schema history
    1   first version: step, phase, jump, event, memory.
    2   a jump says its weight delta in fields (pull_back, gain, scale, orthogonal, keeps_norm), not in coefficients.
    3   a fork is over a policy (policy, num_jumps, goes_on), not over one jump (arm, immediate, kept_jump); decision.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import ClassVar

SCHEMA_VERSION = 3


class Phase(StrEnum):
    """What one call of the trainer does."""

    WARMUP = "WARMUP"
    FULL = "FULL"
    PREDICT = "PREDICT"
    CORRECT = "CORRECT"


class DeferredNumber:
    """A number that may still lie on a device: calling it waits for it and transfers it, once.

    Args:
        read: makes the transfer.
    """

    __slots__ = ("_read", "_value")

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._value: float | None = None

    def __call__(self) -> float:
        """The number."""
        if self._value is None:
            self._value = self._read()
        return self._value


@dataclass(frozen=True, slots=True)
class StepResult:
    """What `HybridTrainer.step` returns.

    Attributes:
        phase: phase of this call.
        was_predicted: a jump was applied in this call and kept.
        predicted_loss: loss that was forecast for this call at the start of its cycle, if a forecast existed.
        confidence: probability that the cached proposal is worth making, if a predictor gave one.
        num_backward: backward passes run in this call, replays of a fork included.
        wall_s: seconds spent in this call.
        read_loss: gives `loss`.
        read_grad_norm: gives `grad_norm`; None where no gradient norm was computed.
    """

    phase: Phase
    was_predicted: bool
    predicted_loss: float | None
    confidence: float | None
    num_backward: int
    wall_s: float
    read_loss: Callable[[], float] = field(repr=False)
    read_grad_norm: Callable[[], float] | None = field(repr=False)

    @property
    def loss(self) -> float:
        """Loss on this call's batch, nats or the model's own unit (after the jump in PREDICT).

        With `update.observe = "cycle"` reading it is a transfer from the device.
        """
        return self.read_loss()

    @property
    def grad_norm(self) -> float | None:
        """Global gradient norm before clipping; None where it was not computed. Reading it may be a transfer."""
        return None if self.read_grad_norm is None else self.read_grad_norm()


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One call of the trainer. `step` counts net optimizer updates, `call` counts batches consumed."""

    kind: ClassVar[str] = "step"
    step: int
    call: int
    phase: Phase
    loss: float
    was_predicted: bool
    predicted_loss: float | None
    confidence: float | None
    grad_norm: float | None
    lr: float
    num_backward: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """A finished stretch of calls in one phase."""

    kind: ClassVar[str] = "phase"
    phase: Phase
    first_call: int
    num_calls: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class JumpRecord:
    """One proposal that reached the weights, kept or not.

    `norm_ratio` is |jump| over |displacement of the last cycle|, `horizon` the full steps it stands for, `pull_back` to
    `keeps_norm` the weight delta as applied (see `hpt.jump.delta`),
    `loss_before` and `loss_after` the paired probe, `verdict` one of accepted, rejected, rolled_back.
    """

    kind: ClassVar[str] = "jump"
    step: int
    call: int
    predictor: str
    horizon: int
    norm: float
    norm_ratio: float
    pull_back: float
    gain: float
    scale: float
    orthogonal: bool
    keeps_norm: bool
    loss_before: float | None
    loss_after: float | None
    forecast_loss: float | None
    confidence: float | None
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForkRecord:
    """One policy of a fork: the run continued with and without its jumps on the same batches.

    `num_steps` full steps in each branch, jumps at the ends of `num_jumps` cycles, `value` the loss saved a jump with
    its standard error, `goes_on` whether the run went on from this branch.
    """

    kind: ClassVar[str] = "fork"
    step: int
    num_steps: int
    num_jumps: int
    policy: str
    value: float
    value_se: float
    goes_on: bool


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """Which policy is played from here on, and why.

    `means` and `sds` are what each policy is believed to be worth: the logarithm of the work ratio of playing it
    through the whole window, and its standard deviation. `policy` is "none" where nothing jumps; `why` is one sentence.
    """

    kind: ClassVar[str] = "decision"
    step: int
    progress: float | None
    policy: str
    means: dict[str, float]
    sds: dict[str, float]
    why: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something out of the ordinary: a rollback, a skipped update, a recovery, a degraded setting."""

    kind: ClassVar[str] = "event"
    step: int
    call: int
    name: str
    message: str
    data: dict[str, float | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """Memory at one moment, in bytes; None where this machine cannot tell."""

    kind: ClassVar[str] = "memory"
    call: int
    phase: Phase
    allocated_bytes: int | None
    reserved_bytes: int | None
    process_bytes: int | None
    device_bytes: int | None


Record = StepRecord | PhaseRecord | JumpRecord | ForkRecord | DecisionRecord | EventRecord | MemoryRecord
Sink = Callable[[Record], None]


def discard(record: Record) -> None:
    """Sink for callers that want no records."""
    del record


def to_json_line(record: Record) -> str:
    """One line of strict JSON; NaN and infinities become strings, so nothing is lost and every parser accepts it."""
    return json.dumps({"kind": record.kind, **jsonable(asdict(record))}, allow_nan=False)


def jsonable(values: Mapping[str, object]) -> dict[str, object]:
    """Copy with non-finite floats spelled as strings ('nan', 'inf', '-inf')."""
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
