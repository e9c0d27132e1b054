"""A whole validation: every job in its process, the checks over what came back, and the files that keep it.

    OUT/run.json  arms, drills, estimates, checks, verdict     OUT/memory.png  OUT/steps.csv
    OUT/arm-*.jsonl, drill-*.jsonl, estimate-*.jsonl           each process's own words

`run.json` says "running" until the end; a validation that was cut off goes on with the jobs it had not finished.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hpt.errors import UsageError
from hpt.jsonfiles import disk_errors, write_json
from hpt.machine import describe_machine, utc_now
from hpt.records import jsonable
from hpt.validate import plan
from hpt.validate.checks import INCONCLUSIVE, NOT_PASSED, PASSED, Check, check_all
from hpt.validate.figure import write_csv, write_figure
from hpt.validate.plan import Job
from hpt.validate.processes import EXACT_MALLOC, run_job
from hpt.validate.results import Outcome, growth, peak_bytes, peaks_by_phase, step_s
from hpt.validate.watch import Watch

SCHEMA_VERSION = 1
RUN_FILE, CSV_FILE, FIGURE_FILE = "run.json", "steps.csv", "memory.png"
DRILL_STEPS = 28  # three cycles, the first jump and its verdict
DRILL_SEQ_LEN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for.

    Attributes:
        job: model, sizes, device and seed of the arms.
        arms: names, in order.
        drills: "nano" (on the tiny model), "full" (on the model itself) or "none".
        estimate_seq_len: tokens of the CUDA estimate, None for the workload's own.
        command: the command line, for the record.
    """

    job: Job
    arms: tuple[str, ...]
    drills: str
    estimate_seq_len: int | None
    command: list[str] = field(default_factory=list[str])

    def jobs(self) -> list[Job]:
        """Every process, in order: estimates first, since they tell whether the rest can fit."""
        here = "host" if self.job.device == "cpu" else "cuda-here"
        jobs = [replace(self.job, kind="estimate", name=f"{here},cuda", context=self.estimate_seq_len)]
        jobs += [replace(self.job, kind="arm", name=name) for name in self.arms]
        return jobs if self.drills == "none" else [*jobs, self._drill_job()]

    def _drill_job(self) -> Job:
        names = ",".join(plan.DRILLS)
        if self.drills == "full":
            return replace(self.job, kind="drill", name=names, steps=DRILL_STEPS)
        tiny = {"model": plan.DRILL_MODEL, "batch_size": 1, "seq_len": DRILL_SEQ_LEN}
        return replace(self.job, kind="drill", name=names, steps=DRILL_STEPS, **tiny)


def validate(request: Request, folder: Path, console: Console) -> dict[str, Any]:
    """Carry out all jobs, judge, write the files, and return the document of run.json.

    Raises:
        UsageError: the folder holds a finished validation.
        DiskError: the folder cannot be written.
    """
    _prepare(folder)
    document = _first_document(request)
    console.print(document["measures"], highlight=False, markup=False)
    write_json(folder / RUN_FILE, document)
    outcomes = _run_all(request, folder, Watch(console))
    arms, drills, estimates = outcomes["arm"], outcomes["drill"], outcomes["estimate"]
    checks = check_all(arms, drills, estimates, _device_type(request.job))
    document |= {
        "status": "done",
        "finished_at": utc_now(),
        "sources": next((list(arm.start["sources"]) for arm in arms.values() if arm.start), []),
        "peak_method": next((arm.start["peak_method"] for arm in arms.values() if arm.start), None),
        "environment": document["environment"] | _machine_of(arms),
        "arms": _summaries(arms),
        "drills": {name: dict(one.end) or {"failed": one.message} for name, one in drills.items()},
        "estimates": {name: dict(one.end) for name, one in estimates.items()},
        "checks": [check.to_document() for check in checks],
        "verdict": verdict_of(checks),
        "num_out_of_memory": sum(arm.exit_code == 7 for arm in arms.values()),
    }
    write_json(folder / RUN_FILE, jsonable(document))
    write_csv(folder / CSV_FILE, arms)
    write_figure(folder / FIGURE_FILE, arms, f"{request.job.model}: {document['measured']}")
    return document


def _machine_of(arms: Mapping[str, Outcome]) -> dict[str, Any]:
    """What only a process that trained can tell: threads in use, name of the GPU."""
    start = next((arm.start for arm in arms.values() if arm.start), {})
    return {name: start.get(name) for name in ("threads", "device_name", "limit_bytes", "host_limit_bytes")}


def verdict_of(checks: list[Check]) -> str:
    """Failed if any check failed, inconclusive if any was, else passed; nothing checked has failed."""
    verdicts = {check.verdict for check in checks}
    if NOT_PASSED in verdicts or not verdicts:
        return NOT_PASSED
    return INCONCLUSIVE if INCONCLUSIVE in verdicts else PASSED


def _prepare(folder: Path) -> None:
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        status = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError):
        return
    if status != "running":
        raise UsageError(f"{folder} already holds a validation ({status}); choose another --out, or delete that folder")


def _device_type(job: Job) -> str:
    return "cpu" if job.device == "cpu" else "cuda"


def _first_document(request: Request) -> dict[str, Any]:
    job = request.job
    on_host = _device_type(job) == "cpu"
    measured = "host memory (there is no GPU in this run)" if on_host else f"memory of {job.device}"
    measures = (
        f"hpt validate-vram {job.model}: measuring host memory, not VRAM; a GPU's is estimated"
        if on_host
        else f"hpt validate-vram {job.model}: measuring memory of {job.device}"
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "validate-vram",
        "status": "running",
        "command": request.command,
        "measures": measures,
        "measured": measured,
        "settings": job.to_document() | {"arms": list(request.arms), "drills": request.drills},
        "forced_cycle": plan.forced_cycle(job.steps, job.seed),
        "allocator": EXACT_MALLOC if on_host else {},
        "environment": describe_machine(device=job.device, threads=job.threads or 0),
        "started_at": utc_now(),
        "finished_at": None,
        "arms": {},
        "drills": {},
        "estimates": {},
        "checks": [],
        "verdict": None,
    }


def _run_all(request: Request, folder: Path, watch: Watch) -> dict[str, dict[str, Outcome]]:
    outcomes: dict[str, dict[str, Outcome]] = {"arm": {}, "drill": {}, "estimate": {}}
    jobs = request.jobs()
    for position, job in enumerate(jobs, start=1):
        watch.begin(job, position, len(jobs))
        for outcome in run_job(job, folder, watch):
            outcomes[job.kind][outcome.name] = outcome
    return outcomes


def _summaries(arms: Mapping[str, Outcome]) -> dict[str, Any]:
    below = peak_bytes(arms[plan.PLAIN]) if plan.PLAIN in arms else None
    return {name: _summary(arm, below) for name, arm in arms.items()}


def _summary(arm: Outcome, plain_bytes: int | None) -> dict[str, Any]:
    peak, slope = peak_bytes(arm), growth(arm)
    end = {key: value for key, value in arm.end.items() if key not in {"kind", "events", "jumps"}}
    return {
        "status": arm.status,
        "message": arm.message or None,
        "baseline_bytes": arm.start.get("baseline_bytes"),
        "peak_bytes": peak,
        "peak_by_phase": peaks_by_phase(arm),
        "ratio": None if peak is None or not plain_bytes else peak / plain_bytes,
        "growth": None if slope is None else asdict(slope),
        "num_calls": len(arm.steps),
        "step_s": step_s(arm),
        "num_copies": arm.end.get("num_copies"),
        "num_cleanups": arm.end.get("num_cleanups"),
        **{key: value for key, value in end.items() if key not in {"num_copies", "num_cleanups"}},
    }
