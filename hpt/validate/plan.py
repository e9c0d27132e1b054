"""What a validation consists of: the arms, the forced cycle they run, and the drills.

Nothing here imports torch; a job crosses to its own process as one JSON object.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
DRILL_MODEL = "gpt2-nano"
DTYPES = ("fp32", "bf16", "bf16-weights")
WARMUP_STEPS, FULL_STEPS, CORRECT_STEPS = 5, 8, 3
MIN_KEPT_JUMPS = 3
ROLLED_BACK_JUMP = 2  # the second kept jump is the one that is undone
CLEANUP_INTERVAL = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
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

    @property
    def names(self) -> list[str]:
        """Results to expect of a drill or estimate job."""
        return self.name.split(",")

    @property
    def is_hybrid(self) -> bool:
        """The arm runs the trainer."""
        return self.name != PLAIN

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of `to_document`."""
        return cls(**document)


def forced_cycle(steps: int, seed: int) -> dict[str, Any]:
    """Trainer settings under which every phase and several jumps happen within `steps` updates."""
    return {
        "gate": "always",
        "warmup_steps": WARMUP_STEPS,
        "full_steps": FULL_STEPS,
        "correct_steps": CORRECT_STEPS,
        "total_steps": steps,
        "seed": seed,
        "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0},
        "fork": {"budget_frac": 0.0},
        "memory": {"cleanup_interval": CLEANUP_INTERVAL, "cleanup_min_bytes": 1024**2},
    }
