"""Plans as a sentence: whether a model fits a budget, and how."""

from hpt.memory.estimate import FittingPlan
from hpt.validate.plan import Job

GIB = 1024**3
SAYS = {
    "fp32": "in fp32",
    "bf16": "with bf16 autocast (weights and moments stay fp32)",
    "bf16-weights": "with weights, gradients and moments in bf16, which changes the arithmetic of the update",
}


def answer_of(job: Job, plan: FittingPlan | None, tried: list[FittingPlan]) -> str:
    """One sentence."""
    if plan is None:
        least = min(one.least_budget_bytes for one in tried)
        return (
            f"{job.model} does not fit, in no way that was tried; the smallest device for it is {least / GIB:.1f} GiB"
        )
    refused = sorted({one.dtype for one in tried if not one.fits and one.dtype != plan.dtype})
    ruled_out = f"; {' and '.join(refused)} do not fit" if refused else ""
    return (
        f"{job.model} fits at sequence {job.seq_len}: {SAYS[plan.dtype]}, "
        f"trajectory and snapshot on the {plan.placement}, "
        f"{plan.batch_size} windows at a time in {plan.accumulation_steps} micro-batches, "
        f"estimated peak {plan.peak_bytes / GIB:.2f} GiB{ruled_out}"
    )
