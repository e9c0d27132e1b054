"""A cell: one run of a comparison, named by everything that decides its result; and what came out of it.

    cell    workload x arm x seed x length, with the recipe by which the arm trains
    result  losses, work, time and memory of that run, as plain JSON values

Nothing here imports torch. A cell's file is named after a hash of the cell, so a changed recipe is another cell and
an unchanged one is never run twice.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, Self

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import Count, Finite, Like, NotNegative, Number, Positive, Version1, open_ended, read_document
from hpt.errors import UsageError
from hpt.jsonfiles import write_json
from hpt.optimizers.catalogue import OWN

CELL_SCHEMA_VERSION = 1
REMEDY = "delete it and run with --resume, or use another --out"
SHAPES = ("linear", "cosine", "wsd", "constant")
LOOPS = ("trainer", "attached", "silent")
LEAST_CPU_FRAC = 0.9  # of a cell's wall seconds; with less, other programs had the cores
WINDOW = (0.10, 0.90)  # of progress, where the base preset jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an arm trains, relative to the workload's own optimizer and schedule.

    Attributes:
        lr_factor: on the workload's peak learning rate.
        shape: schedule after the warm-up: linear to 2 %, cosine to 2 %, wsd (constant, last 30 % linear), constant.
        memory: decay of the optimizer's longest average: beta2 of Adam's kin, momentum of SGD; None: the workload's.
        boost: factor on the learning rate while progress lies in `WINDOW`.
        ema_decay: the weights are read out as a moving average over updates with this decay; None: as they are.
        optimizer: inner optimizer by name, `OWN` for the workload's own.
        config: trainer settings over the defaults, nested, the predictor included.
        loop: whose it is: the trainer's, or one by hand with hpt.attach that shows its losses, or shows none.
    """

    lr_factor: float = 1.0
    shape: str = "linear"
    memory: float | None = None
    boost: float = 1.0
    ema_decay: float | None = None
    optimizer: str = OWN
    config: dict[str, Any] = field(default_factory=lambda: {"predictor": "none"})
    loop: str = LOOPS[0]

    def __post_init__(self) -> None:
        """Refuse what no run can follow.

        Raises:
            UsageError: a factor is not positive, or the shape or loop is unknown.
        """
        for name in ("lr_factor", "boost"):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise UsageError(f"recipe's {name} is {value}, it must be positive; choose another")
        for name, value, choices in (("shape", self.shape, SHAPES), ("loop", self.loop, LOOPS)):
            if value not in choices:
                raise UsageError(f"recipe's {name} is {value!r}; choose from {', '.join(choices)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run.

    Attributes:
        workload: name, or package.module:factory.
        arm: for whom it is run; does not change the result.
        seed: of weights, batches and trainer.
        steps: net optimizer updates, the length of the schedule.
        recipe: how it trains.
        data: the user's text for the text workloads, absolute.
        device: where; dtype: autocast of the forward pass.
        threads: of torch.
    """

    workload: str
    arm: str
    seed: int
    steps: int
    recipe: Recipe
    data: str | None = None
    device: str = "cpu"
    dtype: str = "none"
    threads: int = 1

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The cell that `dataclasses.asdict` made the document of."""
        values: dict[str, Any] = {**document, "recipe": Recipe(**document["recipe"])}
        return cls(**values)

    @property
    def key(self) -> str:
        """File name without suffix: readable, and unique by a hash of all fields."""
        fields = asdict(self)
        if self.recipe.loop == LOOPS[0]:
            del fields["recipe"]["loop"]  # cells that were stored before there was a choice keep their names
        text = json.dumps([CELL_SCHEMA_VERSION, fields], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.workload}-{self.arm}")
        return f"{readable}-n{self.steps}-s{self.seed}-{digest}"


@open_ended
class _Counters(TypedDict):
    full_step_equivalents: Positive
    backwards: NotNegative


_Point = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class _Bin(TypedDict):
    low: Finite
    count: NotNegative
    mean_probability: Finite | None
    frequency: Finite | None


def _is_filled(row: _Bin) -> _Bin:
    if row["count"] and None in (row["mean_probability"], row["frequency"]):
        raise ValueError("it counts outcomes, but has no mean_probability or no frequency")
    return row


@open_ended
class _Confidence(TypedDict):
    table: NotRequired[list[Annotated[_Bin, AfterValidator(_is_filled)]] | None]


@open_ended
class _Score(TypedDict):
    nll_mean: Finite | None
    count: NotRequired[Count]


@open_ended
class _Fork(TypedDict):
    value: Number


@open_ended
class _Decision(TypedDict):
    step: Count
    policy: str
    means: dict[str, Finite]
    sds: dict[str, NotNegative]
    why: str


@open_ended
class _Values(TypedDict):
    decisions: list[_Decision]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What a run came to; a value that is not known is None.

    Attributes:
        final_loss: mean loss on the fixed validation set after the last update; None if the run diverged.
        diverged: a loss was not finite, the trainer gave up, or the final loss is far above that of knowing nothing.
        counters: work done, see `hpt.trainer.ledger`; `full_step_equivalents` among them.
        curve: (full-step equivalents, mean training loss since the last point) about fifty times.
        train_s: wall seconds of the loop, data included, validation excluded.
        cpu_s: processor seconds of the same.
        peak_host_bytes: largest resident set of the process, imports included.
        peak_device_bytes: largest sum of CUDA tensors; None without CUDA.
        jump_ratio: mean |jump| over |displacement of the last cycle| of the kept jumps.
        confidence: reliability of the predictor's confidence.
        scores: of every loss forecaster, {nll_mean, nll_rolling, count}, nats of the loss at the horizon.
        forks: what policies were worth, see `hpt.records.ForkRecord`.
        values: what was believed, measured and played, see `hpt.predictors.chooser`; None where nothing was chosen.
        chance_loss: loss of knowing nothing but the targets' frequencies.
        num_weights: trainable weights of the model.
        alone: no other cell ran at any moment of this one; False where other processes may have run some.
        environment: machine and versions.
        message: why it diverged.
    """

    final_loss: Finite | None
    diverged: bool
    counters: Annotated[dict[str, float], Like(_Counters)]
    curve: Annotated[list[list[float]], Like(list[_Point])]
    train_s: Positive
    cpu_s: NotNegative
    peak_host_bytes: Count | None
    peak_device_bytes: Count | None
    jump_ratio: Finite | None
    confidence: Annotated[dict[str, Any], Like(_Confidence)] | None
    chance_loss: Finite
    scores: Annotated[dict[str, Any], Like(dict[str, _Score])] | None = None
    forks: Annotated[list[dict[str, Any]], Like(list[_Fork])] = field(default_factory=list[dict[str, Any]])
    values: Annotated[dict[str, Any], Like(_Values)] | None = None
    num_weights: Count | None = None
    alone: bool = False
    environment: dict[str, Any] = field(default_factory=dict[str, Any])
    message: str | None = None

    @property
    def loss(self) -> float:
        """Final validation loss; infinite for a run that diverged, so that it counts as the worst."""
        return math.inf if self.diverged or self.final_loss is None else self.final_loss

    @property
    def full_step_equivalents(self) -> float:
        """Work of the run, in full steps: forward and backward passes, and operations of optimizer and jumps."""
        return self.counters["full_step_equivalents"]

    @property
    def is_timed(self) -> bool:
        """Its seconds can be compared: it ran alone, and had the processor to itself.

        A CUDA cell is not judged by its processor time, which says nothing about the device.
        """
        return self.alone and (self.peak_device_bytes is not None or self.cpu_s >= LEAST_CPU_FRAC * self.train_s)

    @property
    def backwards(self) -> float:
        """Number of backward passes."""
        return self.counters["backwards"]


class _Stored(TypedDict):
    schema_version: Version1
    result: CellResult


class CellFolder:
    """Finished cells, one JSON file each.

    Args:
        path: the folder; made when the first result is stored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def file_of(self, cell: Cell) -> Path:
        """Path of its result, whether that is there or not."""
        return self.path / f"{cell.key}.json"

    def has(self, cell: Cell) -> bool:
        """A result of this cell is stored."""
        return self.file_of(cell).exists()

    def store(self, cell: Cell, result: CellResult) -> None:
        """Keep a result; a power failure leaves it whole or absent.

        Raises:
            DiskError: the disk is full, or the place cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        document = {"schema_version": CELL_SCHEMA_VERSION, "cell": asdict(cell), "result": asdict(result)}
        write_json(self.file_of(cell), document)

    def load(self, cell: Cell) -> CellResult | None:
        """The result of a cell, None if it is not done.

        Raises:
            DocumentError: its file is damaged.
        """
        path = self.file_of(cell)
        return read_document(path, _Stored, remedy=REMEDY)["result"] if path.exists() else None
