"""Drills of the trainer's memory options: each saves something measured, and changes nothing it must not change."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from hpt.memory.cleanup import free_idle
from hpt.memory.peak import PeakMeter
from hpt.memory.probe import is_gpu
from hpt.records import Phase
from hpt.validate.forced import Forced, drill_report, held_bytes, workload_of
from hpt.validate.plan import ValidationJob
from hpt.workloads.language import LanguageWorkload

PARTS = 4
SAME_LOSS = 1e-3  # relative; sums in another order, then a few updates apart
JUMPED_LOSS = 0.05  # relative, of the last losses when jumps differ in their last bits


def _run(make: Callable[[], Forced], job: ValidationJob) -> dict[str, Any]:
    """Train to the end: losses, and the peak by phase above what the process held before the model was made."""
    device = torch.device(job.device)
    free_idle(device, collect=True)
    before = held_bytes(device) or 0
    forced, meter = make(), PeakMeter(device)
    losses: list[tuple[str, float]] = []
    peaks: dict[str, int] = {}
    while forced.trainer.num_updates < job.steps:
        phase = str(forced.trainer.phase)
        meter.start()
        losses.append((phase, forced.step()))
        peaks[phase] = max(peaks.get(phase, 0), (meter.stop() or 0) - before)
    return {"losses": losses, "peaks": peaks, "trajectory_bytes": forced.trainer.outer.trajectory.nbytes}


def _pair(job: ValidationJob, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run with the option and the one without; the latter first, so that first-use costs fall on it."""
    off = _run(lambda: Forced(job, rolls_back=False), job)
    return _run(lambda: Forced(job, changes, rolls_back=False), job), off


def _trained(run: Mapping[str, Any]) -> list[float]:
    """Losses of the full steps."""
    return [loss for phase, loss in run["losses"] if phase != Phase.PREDICT.value]


def _report(
    on: Mapping[str, Any], off: Mapping[str, Any], *, passed: bool, saved: int, evidence: str
) -> dict[str, Any]:
    accounts = [{"peak_by_phase": run["peaks"], "final_loss": run["losses"][-1][1]} for run in (on, off)]
    return drill_report(None, *accounts, passed=passed, saved_bytes=saved, evidence=evidence)


def _saved_in_predict(on: Mapping[str, Any], off: Mapping[str, Any]) -> int:
    """Bytes by which the peak of PREDICT is lower with the option."""
    return off["peaks"].get("PREDICT", 0) - on["peaks"].get("PREDICT", 0)


def accumulation(job: ValidationJob) -> dict[str, Any]:
    """A batch in PARTS micro-batches: the same update from less memory."""
    whole = replace(job, batch_size=PARTS * (job.batch_size or 1), steps=8)
    off = _run(lambda: Forced(whole, rolls_back=False), whole)
    workload = workload_of(whole, torch.device(whole.device))
    assert isinstance(workload, LanguageWorkload), "drills run on text models"
    whole_batch = workload.batch
    workload.batch = lambda index: whole_batch(index // PARTS).chunk(PARTS)[index % PARTS].contiguous()
    changes = {"update": {"accumulation_steps": PARTS}}
    on = _run(lambda: Forced(whole, changes, rolls_back=False, workload=workload), whole)
    updates = [loss for _, loss in on["losses"]][PARTS - 1 :: PARTS]
    reference = [loss for _, loss in off["losses"]]
    worst = max(abs(one - other) / abs(other) for one, other in zip(updates, reference, strict=True))
    saved = max(off["peaks"].values()) - max(on["peaks"].values())
    return _report(
        on,
        off,
        passed=worst < SAME_LOSS and saved > 0,
        saved=saved,
        evidence=f"peak lower by {saved} bytes; losses of {len(updates)} updates agree within {worst:.1e}",
    )


def bf16_trajectory(job: ValidationJob) -> dict[str, Any]:
    """Copies in bf16: half the bytes."""
    on, off = _pair(job, {"trajectory": {"format": "bf16"}})
    sizes = [on["trajectory_bytes"], off["trajectory_bytes"]]
    last, wanted = on["losses"][-1][1], off["losses"][-1][1]
    gap = abs(last - wanted) / abs(wanted)
    return _report(
        on,
        off,
        passed=2 * sizes[0] == sizes[1] and gap < JUMPED_LOSS,
        saved=sizes[1] - sizes[0],
        evidence=f"trajectory {sizes[1]} -> {sizes[0]} bytes; final loss {last:.4f}, without {wanted:.4f}",
    )


def bf16_predict(job: ValidationJob) -> dict[str, Any]:
    """Probes in bf16: the full steps do not change as long as the jumps are the same."""
    on, off = _pair(job, {"precision": {"phases": {"predict": "bf16"}}})
    same, probes = _trained(on) == _trained(off), on["losses"] != off["losses"]
    saved = _saved_in_predict(on, off)
    return _report(
        on,
        off,
        passed=same and probes,
        saved=saved,
        evidence=f"losses of full steps {'equal' if same else 'DIFFER'}, probes "
        f"{'differ, as they must' if probes else 'EQUAL: bf16 was not used'}; peak of PREDICT lower by {saved} bytes",
    )


def optimizer_offload(job: ValidationJob) -> dict[str, Any]:
    """The optimizer's state away while a jump is probed: bit for bit the same run."""
    on, off = _pair(job, {"memory": {"offload_optimizer": True}})
    same = on["losses"] == off["losses"]
    saved = _saved_in_predict(on, off)
    gpu = is_gpu(job.device)
    jumped = any(phase == Phase.PREDICT.value for phase, _ in on["losses"])
    return _report(
        on,
        off,
        passed=same and jumped and (saved > 0 or not gpu),
        saved=saved,
        evidence=f"losses {'equal bit for bit' if same else 'DIFFER'}; "
        + (
            f"peak of PREDICT lower by {saved} bytes"
            if gpu
            else "on the host there is nowhere else to go, nothing saved"
        ),
    )


OPTION_DRILLS: dict[str, Callable[[ValidationJob], dict[str, Any]]] = {
    "accumulation": accumulation,
    "bf16-trajectory": bf16_trajectory,
    "bf16-predict": bf16_predict,
    "optimizer-offload": optimizer_offload,
}
