"""How the workloads train: AdamW with weight decay on matrices, embeddings and filters, and its learning-rate schedule.

AdamW: Loshchilov and Hutter, arXiv:1711.05101; betas (0.9, 0.95), decay 0.1 and none on biases and norms from Brown et
al., arXiv:2005.14165, appendix B.

Schedule: linear warm-up, then linear decay to 2 % of the peak. Linear decay to almost zero is the strongest common
baseline for AdamW at a fixed budget (Defazio et al., "Optimal linear decay learning rate schedules and further
refinements", arXiv:2310.07831; Bergsma et al., "Straight to zero", arXiv:2502.15938). We stop at 2 % of the peak
instead of zero, so that the last updates still move the weights.
"""

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
CLIP_NORM = 1.0
WARMUP_FRAC = 0.02
MIN_WARMUP_STEPS = 10
MAX_WARMUP_STEPS = 83
FINAL_FRAC = 0.02


def adamw(model: nn.Module, peak_lr: float) -> AdamW:
    """AdamW with two groups: tensors of two or more axes, which decay, and all others, which do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=peak_lr, betas=BETAS)


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
