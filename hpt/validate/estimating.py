"""Estimates for a workload: its phases on fake tensors, for the host that is here and a GPU that is not.

On the host everything lies side by side: peak = training + trajectory + snapshot. For CUDA trajectory and
snapshot are pinned on the host by default, and what is left on the device of PREDICT are copies of one
parameter at a time.
"""

from collections.abc import Generator, Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import torch

from hpt.memory.estimate import LIMITS, as_on_cuda
from hpt.memory.fakes import Fakes, outside_fakes
from hpt.memory.fitting import FittingPlan, least_budget, plan_for
from hpt.memory.phases import FULL, Peaks, Training, estimate_peaks
from hpt.memory.prediction import Copies
from hpt.memory.tracking import SNAPSHOT, TRAJECTORY
from hpt.optimizers.inner import InnerOptimizer
from hpt.validate.forced import model_of, results_of, workload_of
from hpt.validate.plan import DTYPES, GIB, ValidationJob, gib_text
from hpt.workloads.workload import Workload

CPU = torch.device("cpu")
COPIES = 2  # where the cycle began, and the trend
SAYS = {
    "fp32": "in fp32",
    "bf16": "with bf16 autocast (weights and moments stay fp32)",
    "bf16-weights": "with weights, gradients and moments in bf16, which changes the arithmetic of the update",
}


def run_estimates(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """The estimates that a job names, each with its result or the error that it met."""
    return results_of(arguments, estimate_job)


def estimate_job(job: ValidationJob) -> dict[str, Any]:
    """The job's estimate as plain values; `job.name` is the kind of device, "host", "cuda" or "cuda-here"."""
    for_cuda = job.name != "host"
    if job.name == "cuda" and job.context is not None:
        job = replace(job, seq_len=job.context)
    peaks = phase_peaks(job, for_cuda=for_cuda, on_device=not for_cuda)
    full, kept = peaks.phases[FULL], {"trajectory": peaks.trajectory_bytes, "snapshot": peaks.snapshot_bytes}
    plain = full.peak_bytes - full.categories[TRAJECTORY] - full.categories[SNAPSHOT]
    hybrid = peaks.largest.peak_bytes
    return {
        "device": job.name,
        "phases": {name: {"peak_bytes": one.peak_bytes, **one.categories} for name, one in peaks.phases.items()},
        "plain_peak_bytes": plain,
        "hybrid_peak_bytes": hybrid,
        "ratio": hybrid / plain,
        "host_pinned_bytes": kept if for_cuda else None,
        "kept_bytes": kept,
        "batch_size": job.batch_size,
        "seq_len": job.seq_len,
        "dtype": job.dtype,
        "limits": list(LIMITS),
    }


def plan_job(job: ValidationJob, budget_bytes: float, wanted_batch: int) -> dict[str, Any]:
    """What fits a CUDA device of `budget_bytes`, all that was tried, and the answer in a sentence."""

    @cache
    def peak_of(dtype: str, placement: str, batch: int) -> int:
        return phase_peaks(
            _resized(job, dtype, batch), for_cuda=True, on_device=placement == "device"
        ).largest.peak_bytes

    @cache
    def trained_of(dtype: str) -> tuple[int, int]:
        return _num_trained(_resized(job, dtype, 1))

    def static_of(dtype: str, placement: str) -> int:
        return static_bytes(*trained_of(dtype), on_device=placement == "device")

    chosen, tried = plan_for(DTYPES, peak_of, static_of, budget_bytes, wanted_batch)
    least = None if chosen is not None else least_budget(tried, peak_of)
    return {
        "budget_bytes": int(budget_bytes),
        "wanted_batch": wanted_batch,
        "fits": chosen is not None,
        "chosen": None if chosen is None else asdict(chosen),
        "tried": [asdict(one) for one in tried],
        "least_budget_bytes": least,
        "answer": _fitting(job, chosen, tried) if least is None else _missing(job, least),
    }


def _missing(job: ValidationJob, least_bytes: int) -> str:
    return f"{job.model} does not fit, in no way that was tried; the smallest device for it is {gib_text(least_bytes)}"


def _fitting(job: ValidationJob, chosen: FittingPlan | None, tried: list[FittingPlan]) -> str:
    assert chosen is not None, "where none fits, the smallest device is told"
    refused = sorted({one.dtype for one in tried if not one.fits and one.dtype != chosen.dtype})
    ruled_out = f"; {' and '.join(refused)} do not fit" if refused else ""
    return (
        f"{job.model} fits at sequence {job.seq_len}: {SAYS[chosen.dtype]}, "
        f"trajectory and snapshot on the {chosen.placement}, "
        f"{_windows(chosen)}, "
        f"estimated peak {chosen.peak_bytes / GIB:.2f} GiB{ruled_out}"
    )


def _windows(plan: FittingPlan) -> str:
    size, count = plan.batch_size, plan.accumulation_steps
    windows = f"{size} window{'s' * (size > 1)} at a time"
    return windows if count == 1 else f"{windows} in {count} micro-batches, {size * count} an update"


def _resized(job: ValidationJob, dtype: str, batch: int) -> ValidationJob:
    return replace(job, dtype=dtype, batch_size=batch)


def _num_trained(job: ValidationJob) -> tuple[int, int]:
    """Trained parameters, and bytes of one of them."""
    model, _, _ = _on_meta(job)
    trained = [one for one in model.parameters() if one.requires_grad]
    return sum(one.numel() for one in trained), trained[0].element_size()


def _on_meta(job: ValidationJob) -> tuple[torch.nn.Module, Workload, Any]:
    """The model without memory, its workload and a batch; a workload that cannot do without gets real memory."""
    try:
        with torch.device("meta"):
            workload = workload_of(job, torch.device("meta"))
            return model_of(workload, job.dtype), workload, workload.batch(0)
    except (NotImplementedError, RuntimeError):  # it copies or reads values on the way
        workload = workload_of(job, CPU)
        return model_of(workload, job.dtype), workload, workload.batch(0)


def static_bytes(count: int, size: int, *, on_device: bool) -> int:
    """What is there at any batch, for so many trained parameters of so many bytes each.

    Weights, gradients and AdamW's two moments; and the copies if they are on the device: the trajectory, never below
    fp32, and a snapshot of weights and moments.
    """
    copies = COPIES * max(4, size) * count + 3 * size * count
    return 4 * size * count + (copies if on_device else 0)


def phase_peaks(job: ValidationJob, *, for_cuda: bool, on_device: bool) -> Peaks:
    """Peaks of FULL (CORRECT and WARMUP are the same step), CYCLE (its end) and PREDICT, with all that is kept.

    Args:
        job: model, sizes and dtype.
        for_cuda: as on a GPU, its optimizer by foreach and sizes in its blocks.
        on_device: trajectory and snapshot lie beside the weights, not on another device.
    """
    return estimate_peaks(lambda: _prepare(job, for_cuda=for_cuda, on_device=on_device), for_cuda=for_cuda)


def _prepare(job: ValidationJob, *, for_cuda: bool, on_device: bool) -> Training:
    with outside_fakes():
        meta, workload, data = _on_meta(job)
    fakes = Fakes()
    model = fakes.model(meta)
    optimizer = workload.build_optimizer(model)
    autocast = torch.bfloat16 if job.dtype == "bf16" else None
    return Training(
        model=model,
        optimizer=InnerOptimizer(as_on_cuda(optimizer) if for_cuda else optimizer),
        batch=fakes.batch(data),
        loss=workload.loss,
        autocast=autocast,
        probe_autocast=autocast,
        clip_norm=workload.clip_norm,
        copies=Copies(trajectory_here=on_device, snapshot_here=on_device),
    )
