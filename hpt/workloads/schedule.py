"""How the learning rate of the workloads goes: linear warm-up, then linear decay to 2 % of the peak.

Linear decay to almost zero is the strongest common baseline for AdamW at a fixed budget (Defazio et al., "Optimal
linear decay learning rate schedules and further refinements", arXiv:2310.07831; Bergsma et al., "Straight to zero",
arXiv:2502.15938). We stop at 2 % of the peak instead of zero, so that the last updates still move the weights.
"""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

CLIP_NORM = 1.0
WARMUP_FRAC = 0.02
MIN_WARMUP_STEPS = 10
MAX_WARMUP_STEPS = 83
FINAL_FRAC = 0.02


def warmup_steps(total_steps: int) -> int:
    """Updates of warm-up: 2 % of the run, at least 10 and at most 83, never more than half the run."""
    wanted = min(max(round(WARMUP_FRAC * total_steps), MIN_WARMUP_STEPS), MAX_WARMUP_STEPS)
    return max(1, min(wanted, total_steps // 2))


def lr_frac(step: int, total_steps: int) -> float:
    """Share of the peak learning rate used by update number `step` (from 0); constant after the end."""
    warmup = warmup_steps(total_steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup + 1) / max(total_steps - warmup, 1), 1.0)
    return 1.0 - (1.0 - FINAL_FRAC) * progress


def warmup_linear(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """Scheduler that multiplies each group's own learning rate, its peak, by `lr_frac`.

    Step it once per optimizer update.
    """
    return LambdaLR(optimizer, lambda step: lr_frac(step, total_steps))
