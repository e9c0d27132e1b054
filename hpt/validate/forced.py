"""A trainer on its forced cycle, and the loss that makes one jump fail on purpose.

The planned rollback adds a constant to the reported loss during CORRECT after one chosen jump, unless a weight is
where it was before it. A constant has no gradient, so the weights go where they would have gone, but the loss leaves
the forecast's band, and without the jump the same batch has a low one: the trainer must undo that jump and the steps
since.
"""

import dataclasses
import traceback
from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch

from hpt.config import HybridConfig
from hpt.errors import UsageError
from hpt.memory.probe import is_gpu, read_memory
from hpt.plugins import FAILURES, described
from hpt.records import JumpRecord, Phase, Record, jsonable
from hpt.trainer.hybrid import HybridTrainer
from hpt.validate.group import own_batch, wrapped
from hpt.validate.plan import ROLLED_BACK_JUMP, ValidationJob, forced_cycle
from hpt.workloads.gpt2 import SIZES, GPT2Text
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload

BUMP = 100.0  # far above any band a forecast may have
NUM_WATCHED = 8  # parameters by which it is told whether a jump was undone
AUTOCAST = {"fp32": "none", "bf16": "bf16", "bf16-weights": "none"}


def workload_of(job: ValidationJob, device: torch.device) -> Workload:
    """The job's model and data.

    Raises:
        UsageError: the model is unknown, or a size was given that it does not take.
    """
    sizes = {"batch_size": job.batch_size, "seq_len": job.seq_len}
    given: dict[str, Any] = {name: value for name, value in sizes.items() if value is not None}
    if job.model in SIZES:
        return GPT2Text(job.model, seed=job.seed, data=None, device=device, **given)
    if given:
        raise UsageError(f"--batch-size and --seq-len are for {', '.join(SIZES)}; {job.model} brings its own")
    return load_workload(job.model, seed=job.seed, device=device)


def model_of(workload: Workload, dtype: str) -> torch.nn.Module:
    """The model, its weights in bf16 if that is the dtype."""
    model = workload.build_model()
    return model.to(torch.bfloat16) if dtype == "bf16-weights" else model


class Forced:
    """A trainer on the forced cycle, with its workload, records and planned rollback.

    Args:
        job: what to train.
        changes: trainer settings over the forced cycle's, nested.
        rolls_back: plan the rollback.
        workload: made from the job if None.
    """

    def __init__(
        self,
        job: ValidationJob,
        changes: Mapping[str, Any] | None = None,
        *,
        rolls_back: bool = True,
        workload: Workload | None = None,
    ) -> None:
        self.workload = workload or workload_of(job, torch.device(job.device))
        self._job = job
        self.records: list[Record] = []
        self._rolls_back = rolls_back
        self._num_jumps = 0
        self._bump = 0.0
        self._before: list[torch.Tensor] = []  # the smallest parameters as they were before the last jump
        self.model = model_of(self.workload, job.dtype)
        self.optimizer = self.workload.build_optimizer(self.model)
        scheduler = self.workload.build_scheduler(self.optimizer, job.steps)
        config = config_of(job, self.workload, changes or {})
        self.trainer = HybridTrainer(
            wrapped(self.model, job), self.optimizer, self._loss, config, scheduler, sink=self._note
        )

    def _loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        is_bumped = self._bump and not all(map(torch.equal, self._smallest, self._before))
        return self.workload.loss(model, batch) + (self._bump if is_bumped else 0.0)

    @property
    def _smallest(self) -> list[torch.nn.Parameter]:
        """Several: in half precision a jump may be too short for some to change."""
        trained = (one for one in self.model.parameters() if one.requires_grad)
        return sorted(trained, key=torch.Tensor.numel)[:NUM_WATCHED]

    def _note(self, record: Record) -> None:
        self.records.append(record)
        if isinstance(record, JumpRecord) and record.verdict == "accepted":
            self._num_jumps += 1

    def step(self) -> float:
        """One call of the trainer on the next batch; its loss."""
        trainer = self.trainer
        if trainer.phase is Phase.PREDICT:
            self._before = [one.detach().clone() for one in self._smallest]
        in_doubt = trainer.phase is Phase.CORRECT and self._num_jumps == ROLLED_BACK_JUMP
        self._bump = BUMP if self._rolls_back and in_doubt else 0.0
        return trainer.step(own_batch(self.workload, self._job, trainer.num_calls)).loss

    def run(self, steps: int) -> list[float]:
        """Losses of all calls until `steps` net updates are made."""
        losses: list[float] = []
        while self.trainer.num_updates < steps:
            losses.append(self.step())
        return losses

    def events(self, name: str) -> list[str]:
        """Messages of the events of that name so far."""
        return [str(getattr(one, "message", "")) for one in self.records if getattr(one, "name", None) == name]


def config_of(job: ValidationJob, workload: Workload, changes: Mapping[str, Any]) -> HybridConfig:
    """The forced cycle with the job's precision and the workload's clipping, then the changes."""
    values = forced_cycle(job.steps, job.seed)
    values["precision"] = {"autocast": AUTOCAST[job.dtype]}
    values["update"] = {} if workload.clip_norm is None else {"clip_norm": workload.clip_norm}
    return HybridConfig.from_dict(merged(values, changes))


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries as one; the second wins."""
    result = dict(values)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownArgumentType]
    return result


def plain_values(record: Record) -> dict[str, Any]:
    """A record as plain values with its kind."""
    return {"kind": record.kind, **dataclasses.asdict(record)}


def held_bytes(device: torch.device) -> int | None:
    """What peaks are measured against: the tensors on a GPU, else the resident set."""
    reading = read_memory(device)
    return reading.allocated_bytes if is_gpu(device) else reading.process_bytes


def results_of(
    arguments: Mapping[str, Any], make: Callable[[ValidationJob], dict[str, Any]]
) -> Generator[dict[str, Any]]:
    """One result after the other for the names of a job; an error in one is its result, and the others follow."""
    job = ValidationJob.from_document(arguments)
    for name in job.names:
        result, message = None, ""
        try:
            result = jsonable(make(dataclasses.replace(job, name=name)))
        except FAILURES as error:  # whatever it is belongs to this one
            traceback.print_exc()
            message = described(error)
        yield {"kind": "result", "name": name, "result": result, "message": message}


def drill_report(
    layer: int | None,
    on: Mapping[str, Any],
    off: Mapping[str, Any],
    *,
    passed: bool,
    evidence: str,
    saved_bytes: int | None = None,
    cost_s: float | None = None,
) -> dict[str, Any]:
    """What a drill found: accounts of the runs with and without the layer or option, and the verdict."""
    found = {"layer": layer, "passed": passed, "on": on, "off": off}
    return found | {"saved_bytes": saved_bytes, "cost_s": cost_s, "evidence": evidence}
