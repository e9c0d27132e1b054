"""What a validation consists of: the arms, the forced cycle they run, the drills, and a process for each.

Nothing here imports torch; a job crosses to its own process as plain values.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

PLAIN, HYBRID, OUT_OF_PLACE, NO_CLEANUP = "plain", "hybrid", "out-of-place", "no-cleanup"
ARMS: dict[str, str] = {
    PLAIN: "AdamW in a hand-written loop",
    HYBRID: "the trainer, every jump made",
    OUT_OF_PLACE: "the same, jumps building new tensors (a test double)",
    NO_CLEANUP: "the same as hybrid, layer 2 off",
}
DRILLS: dict[str, str] = {
    "clean-up": "layer 2: idle memory is made on purpose",
    "record": "layer 3: a reading at every change of phase",
    "degrade": "layer 4: warn and degrade thresholds set below the present use",
    "emergency": "layer 4: checkpoint threshold lowered, then resumed",
    "out-of-memory": "layer 5: an allocation made to fail",
    "out-of-memory-real": "layer 5: an allocation larger than any memory",
    "accumulation": "option: four micro-batches of a quarter each",
    "bf16-trajectory": "option: trajectory in bf16",
    "bf16-predict": "option: the probes of PREDICT in bf16",
    "optimizer-offload": "option: optimizer state away during PREDICT",
}
MARKS = ("run.json", "estimate.json")
"""Records by which a folder of validations is known."""
DRILL_MODEL = "gpt2-nano"
DRILL_STEPS = 28  # three cycles, the first jump and its verdict
DRILL_SEQ_LEN = 16
DTYPES = ("fp32", "bf16", "bf16-weights")
GIB = 1024**3
WARMUP_STEPS, FULL_STEPS, CORRECT_STEPS = 5, 8, 3
MIN_KEPT_JUMPS = 3
LEAST_STEPS = 49  # of the forced cycle, until it has made them: four jumps of which one is undone, with its steps
ROLLED_BACK_JUMP = 2  # the second kept jump is the one that is undone
CLEANUP_INTERVAL = 10
# On the host malloc maps every block from 1 MiB up by itself and uses one arena. Freed tensors then leave the resident
# set at once, so that a peak is made of live tensors and repeats to a fraction of a percent; left alone, malloc keeps
# freed blocks in an order that depends on chance. The price is page faults: steps take longer than without.
EXACT_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1024**2)}
# Drills are judged by what happened and by large differences: blocks of the tiny model's size may be used again.
QUICK_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationJob:
    """One process's work.

    Attributes:
        kind: "arm", "drill" or "estimate".
        name: of the arm; of the drills or the estimates to make, with commas between.
        model: workload's name, or package.module:factory.
        steps: net optimizer updates.
        batch_size: windows a batch; None for the workload's own.
        seq_len: tokens a window; None for the workload's own.
        device: "cpu", "cuda", "cuda:1".
        dtype: one of DTYPES.
        seed: of weights and batches.
        threads: of torch; None for torch's choice.
        context: tokens a window in the estimate of a GPU; None for `seq_len`.
        processes: that train an arm together, each on data of its own.
    """

    kind: str
    name: str
    model: str
    steps: int
    batch_size: int | None
    seq_len: int | None
    device: str
    dtype: str = "fp32"
    seed: int = 0
    threads: int | None = None
    context: int | None = None
    processes: int = 1

    @property
    def names(self) -> list[str]:
        """Results to expect of a drill or estimate job."""
        return self.name.split(",")

    @property
    def is_on_host(self) -> bool:
        """Host memory is what it measures."""
        return self.device == "cpu"

    @property
    def measures(self) -> str:
        """What the numbers of this validation are, said first of all."""
        each = "" if self.processes == 1 else f" of each of {self.processes} processes"
        what = (
            f"host memory{each}, not VRAM; a GPU's is estimated"
            if self.is_on_host
            else f"memory of {self.device}{each}"
        )
        return f"hpt validate-vram {self.model}: measuring {what}"

    @property
    def environment(self) -> dict[str, str] | None:
        """Variables that its process needs from its start; None for an estimate, which makes and measures no memory."""
        if self.kind == "estimate":
            return None
        malloc = QUICK_MALLOC if self.kind == "drill" else EXACT_MALLOC
        threads = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        return threads | (malloc if self.is_on_host else {})

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def in_group(self, rank: int, meeting: Path) -> dict[str, Any]:
        """The same for one of its processes, with its place among them; they meet in a file that is not there yet."""
        place = {"rank": rank, "meeting": str(meeting), "processes": self.processes}
        place["backend"] = "gloo" if self.is_on_host else "nccl"
        device = self.device if self.is_on_host else f"cuda:{rank}"
        return {**self.to_document(), "device": device, "place": place}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of `to_document`."""
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRequest:
    """What was asked for.

    Attributes:
        job: model, sizes, device and seed of the arms.
        arms: names, in order.
        drills: "nano" (on the tiny model), "full" (on the model itself) or "none".
        estimate_seq_len: tokens of the CUDA estimate, None for the workload's own.
        command: the command line, for the record.
    """

    job: ValidationJob
    arms: tuple[str, ...]
    drills: str
    estimate_seq_len: int | None
    command: list[str] = field(default_factory=list[str])

    def jobs(self) -> list[ValidationJob]:
        """Every process, in order: estimates first, since they tell whether the rest can fit."""
        here = "host" if self.job.is_on_host else "cuda-here"
        # An arm of several processes holds gradients a second time, to send them, which no estimate counts.
        asked = f"{here},cuda" if self.job.processes == 1 else "cuda"
        alone = replace(self.job, processes=1)
        jobs = [replace(alone, kind="estimate", name=asked, context=self.estimate_seq_len)]
        jobs += [replace(self.job, kind="arm", name=name) for name in self.arms]
        if self.drills != "none":
            small = {"model": DRILL_MODEL, "batch_size": 1, "seq_len": DRILL_SEQ_LEN}
            changes: dict[str, Any] = {} if self.drills == "full" else small
            jobs.append(replace(alone, kind="drill", name=",".join(DRILLS), steps=DRILL_STEPS, **changes))
        return jobs


def gib_text(count: int, *, is_bound: bool = False) -> str:
    """Bytes in GiB to a tenth; rounded up, so that a device of that size is enough, or down if it is a lower bound."""
    rounded = math.floor if is_bound else math.ceil
    return f"{rounded(10 * count / GIB) / 10:.1f} GiB"


def forced_cycle(steps: int, seed: int) -> dict[str, Any]:
    """Trainer settings under which every phase and several jumps happen within `steps` updates.

    Jumps are short, so that none is refused for what it does to the loss: memory does not depend on their length.
    """
    return {
        "gate": "always",
        "warmup_steps": WARMUP_STEPS,
        "full_steps": FULL_STEPS,
        "correct_steps": CORRECT_STEPS,
        "total_steps": steps,
        "seed": seed,
        "predict": {"policy": "full-kept", "window_start_frac": 0.0, "window_end_frac": 1.0, "max_jump_ratio": 0.1},
        "memory": {"cleanup_interval": CLEANUP_INTERVAL, "cleanup_min_bytes": 1024**2},
    }
