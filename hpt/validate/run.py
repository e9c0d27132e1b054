"""A whole validation: every job in its process, the checks over what came back, and the files that keep it.

    OUT/run.json  arms, drills, estimates, checks, verdict     OUT/memory.png  OUT/steps.csv
    OUT/arm-*.jsonl (arm-*-rank-*.jsonl), drills.jsonl, estimates.jsonl             what each process sent
    OUT/errors/                                                what a failed one printed

`run.json` says "running" until the end; a validation that was cut off goes on with the jobs it had not finished.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from typing_extensions import TypedDict

from hpt.documents import Version1, read_document
from hpt.errors import OutOfMemory, UsageError
from hpt.jsonfiles import disk_errors, read_lines, write_json, write_text
from hpt.machine import describe_machine, utc_now
from hpt.records import jsonable
from hpt.run.folder import LineLog, locked
from hpt.run.measuring import measuring
from hpt.run.processes import ChildJob, JobEnd, run_jobs
from hpt.validate import plan
from hpt.validate.checks import check_all
from hpt.validate.figure import write_csv, write_figure
from hpt.validate.plan import MARKS, ValidationJob, ValidationRequest
from hpt.validate.results import DONE, FAILED, ValidationResult, growth, peak_bytes, peaks_by_phase, step_s
from hpt.validate.verdicts import verdict_of

SCHEMA_VERSION = 1
NO_RESULT = "it ended without a result"
RUN_FILE, CSV_FILE, FIGURE_FILE = "run.json", "steps.csv", "memory.png"
TARGETS = {
    "arm": "hpt.validate.arm:run_arm",
    "drill": "hpt.validate.drills:run_drills",
    "estimate": "hpt.validate.estimating:run_estimates",
}
Kinds = dict[str, dict[str, ValidationResult]]
"""Results by name, by kind of job."""
OnBegin = Callable[[ValidationJob, int, int], None]
"""Told of a job, its place from 1 and the number of jobs when it begins."""
OnLine = Callable[[ValidationJob, Mapping[str, Any]], None]
_Said = tuple[Sequence[dict[str, Any]], int, str]
"""Lines, exit code, and why there is no result, of one process."""
OnWait = Callable[[str], None]
"""Told, in a line, of another measurement that has to end first."""


def validate(
    request: ValidationRequest, folder: Path, on_begin: OnBegin, on_line: OnLine, on_wait: OnWait = lambda _: None
) -> dict[str, Any]:
    """Carry out all jobs, judge, write the files, and return the document of run.json.

    Raises:
        UsageError: the folder holds a finished validation or something else, or another process works there.
        DiskError: the folder cannot be written.
        KeyboardInterrupt: Ctrl-C; jobs that were finished are kept.
    """
    _refuse_finished(folder)
    with locked(folder, "validation", *MARKS), measuring(on_wait):
        _refuse_finished(folder)
        document = _first_document(request)
        write_json(folder / RUN_FILE, document)
        kinds: Kinds = {kind: {} for kind in TARGETS}
        jobs = request.jobs()
        for position, job in enumerate(jobs, start=1):
            on_begin(job, position, len(jobs))
            kinds[job.kind] |= {one.name: one for one in run_job(job, folder, on_line)}
        document |= _judged(document, kinds, request.job)
        write_json(folder / RUN_FILE, jsonable(document))
        curves = _curves(kinds["arm"])
        write_csv(folder / CSV_FILE, curves)
        write_figure(folder / FIGURE_FILE, curves, f"{request.job.model}: {document['measured']}")
    return document


def _curves(arms: Mapping[str, ValidationResult]) -> dict[str, ValidationResult]:
    """A process's calls by name of the arm, and by rank where there are several."""
    return {
        name if len(arm.by_rank) == 1 else f"{name}, rank {rank}": one
        for name, arm in arms.items()
        for rank, one in enumerate(arm.by_rank)
    }


class _Stored(TypedDict):
    schema_version: Version1
    kind: Literal["validate-vram"]
    status: str


def _refuse_finished(folder: Path) -> None:
    if (folder / RUN_FILE).exists():
        status = read_document(folder / RUN_FILE, _Stored)["status"]
        if status != "running":
            raise UsageError(
                f"{folder} already holds a validation ({status}); choose another --out, or delete that folder"
            )


def run_job(job: ValidationJob, folder: Path, on_line: OnLine) -> list[ValidationResult]:
    """Run one job, or take it over from `folder` if it was finished there under the same settings.

    Returns one result for an arm, one for each name of a drill or estimate job.

    Raises:
        DiskError: the folder cannot be written.
    """
    stem = f"arm-{job.name}" if job.kind == "arm" else f"{job.kind}s"
    keys = [stem] if job.processes == 1 else [f"{stem}-rank-{rank}" for rank in range(job.processes)]
    finished = folder / f"{stem}.done.json"
    if _was_finished(job, finished):
        return _results(job, [(list(read_lines(folder / f"{key}.jsonl")), 0, "") for key in keys], 0)
    ends = _run_together(job, keys, folder, on_line)
    by_key = {end.job.key: end for end in ends}
    said = [(by_key[key].documents, by_key[key].exit_code, by_key[key].error or NO_RESULT) for key in keys]
    results = _results(job, said, keys.index(ends[0].job.key))
    if all(one.is_done for one in results):
        write_json(finished, job.to_document())
    else:
        for end in ends:
            _keep_words(folder / "errors" / f"{end.job.key}.txt", end)
    return results


def _run_together(job: ValidationJob, keys: Sequence[str], folder: Path, on_line: OnLine) -> list[JobEnd]:
    """Its processes at once, one by itself or a group; their lines are kept by key. In the order of their ends."""
    with ExitStack() as closing:
        logs = {key: LineLog(folder / f"{key}.jsonl", lambda _index, _line: False) for key in keys}
        for log in logs.values():
            closing.callback(log.close)
        meeting = Path(closing.enter_context(TemporaryDirectory(prefix="hpt-group-")), "meeting")

        def keep(child: ChildJob, line: dict[str, Any]) -> None:
            logs[child.key].append(json.dumps(line, allow_nan=False))
            if child.key == keys[0]:  # processes are level, and one is shown
                on_line(job, line)

        children = [
            ChildJob(
                key=key,
                target=TARGETS[job.kind],
                arguments=job.to_document() if len(keys) == 1 else job.in_group(rank, meeting),
                environment=job.environment,
            )
            for rank, key in enumerate(keys)
        ]
        return run_jobs(children, at_once=len(keys), wait_for_another=len(keys) > 1, on_document=keep)


def _keep_words(path: Path, end: JobEnd) -> None:
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_text(path, end.words)


def _was_finished(job: ValidationJob, path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == job.to_document())
    except (OSError, ValueError):
        return False


def _results(job: ValidationJob, said: Sequence[_Said], first: int) -> list[ValidationResult]:
    """What the lines of its processes say; a result that is missing has failed for the reason that its process had.

    Args:
        job: whose they are.
        said: by rank.
        first: rank of the process that ended first, for whose reason the others failed.
    """
    if job.kind == "arm":
        return [_arm_of([_arm(job.name, *one) for one in said], first)]
    ((lines, code, why),) = said
    found = {one["name"]: one for one in lines}
    return [_result(name, found.get(name), code, why) for name in job.names]


def _arm(name: str, lines: Sequence[dict[str, Any]], code: int, why: str) -> ValidationResult:
    by_kind = {one["kind"]: one for one in lines}
    is_done = code == 0 and "end" in by_kind
    return ValidationResult(
        name=name,
        status=DONE if is_done else FAILED,
        exit_code=code,
        message="" if is_done else why,
        start=by_kind.get("start", {}),
        steps=[one for one in lines if one["kind"] == "step"],
        end=by_kind.get("end", {}),
    )


def _arm_of(ranks: Sequence[ValidationResult], first: int) -> ValidationResult:
    """One result of all processes of an arm, which is done where all are."""
    if len(ranks) == 1:
        return ranks[0]
    failed = [rank for rank in (first, *range(len(ranks))) if not ranks[rank].is_done]
    arm = replace(ranks[0], ranks=tuple(ranks))
    if not failed:
        return arm
    to_blame = ranks[failed[0]]
    message = f"rank {failed[0]}: {to_blame.message}"
    return replace(arm, status=FAILED, exit_code=to_blame.exit_code, message=message)


def _result(name: str, line: Mapping[str, Any] | None, code: int, why: str) -> ValidationResult:
    if line is None or line["result"] is None:
        return ValidationResult(
            name=name, status=FAILED, exit_code=code, message=why if line is None else line["message"]
        )
    return ValidationResult(name=name, status=DONE, exit_code=0, end=line["result"])


def _first_document(request: ValidationRequest) -> dict[str, Any]:
    """run.json before anything ran."""
    job, on_host = request.job, request.job.is_on_host
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "validate-vram",
        "status": "running",
        "command": request.command,
        "measures": job.measures,
        "measured": "host memory (there is no GPU in this run)" if on_host else f"memory of {job.device}",
        "settings": job.to_document() | {"arms": list(request.arms), "drills": request.drills},
        "forced_cycle": plan.forced_cycle(job.steps, job.seed),
        "allocator": plan.EXACT_MALLOC if on_host else {},
        "environment": describe_machine(device=job.device, threads=job.threads or 0),
        "started_at": utc_now(),
        "finished_at": None,
        "arms": {},
        "drills": {},
        "estimates": {},
        "checks": [],
        "verdict": None,
    }


def _judged(document: Mapping[str, Any], kinds: Kinds, job: ValidationJob) -> dict[str, Any]:
    """What is known of a validation when all its jobs have ended."""
    arms, drills, estimates = kinds["arm"], kinds["drill"], kinds["estimate"]
    checks = check_all(arms, drills, estimates, "cpu" if job.is_on_host else "cuda")
    start = next((arm.start for arm in arms.values() if arm.start), {})
    # only a process that trained can tell these
    machine = {name: start.get(name) for name in ("threads", "device_name", "limit_bytes", "host_limit_bytes")}
    plain = [peak_bytes(one) for one in arms[plan.PLAIN].by_rank] if plan.PLAIN in arms else [None] * job.processes
    return {
        "status": "done",
        "finished_at": utc_now(),
        "sources": list(start.get("sources", [])),
        "peak_method": start.get("peak_method"),
        "environment": document["environment"] | machine,
        "arms": {name: _summary_by_rank(arm, plain) for name, arm in arms.items()},
        "drills": {name: dict(one.end) or {"failed": one.message} for name, one in drills.items()},
        "estimates": {name: dict(one.end) for name, one in estimates.items()},
        "checks": [check.to_document() for check in checks],
        "verdict": verdict_of(checks),
        "num_out_of_memory": sum(arm.exit_code == OutOfMemory.exit_code for arm in arms.values()),
    }


def _summary_by_rank(arm: ValidationResult, plain: Sequence[int | None]) -> dict[str, Any]:
    """Of an arm; of several processes that with the highest peak, and below "ranks" all, each over its own rank."""
    ranks = [_summary(one, below) for one, below in zip(arm.by_rank, plain, strict=True)]
    if len(ranks) == 1:
        return ranks[0]
    rank = max(range(len(ranks)), key=lambda rank: ranks[rank]["peak_bytes"] or 0)
    return ranks[rank] | {"status": arm.status, "message": arm.message or None, "rank": rank, "ranks": ranks}


def _summary(arm: ValidationResult, plain_bytes: int | None) -> dict[str, Any]:
    peak, slope = peak_bytes(arm), growth(arm)
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
        "num_copies": None,
        "num_cleanups": None,
        **{key: value for key, value in arm.end.items() if key not in {"kind", "events", "jumps"}},
    }
