"""Jobs in processes of their own: what they say is kept as it comes, and how they end is never guessed.

On the host the C library's malloc is told to map every block from 1 MiB up by itself and to use one arena.
Freed tensors then leave the resident set at once, so that a peak is made of live tensors and repeats to a
fraction of a percent; left alone, malloc keeps freed blocks in an order that depends on chance. The price is
page faults: steps take longer than without.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hpt.jsonfiles import disk_errors, read_lines, write_json
from hpt.validate.plan import Job
from hpt.validate.results import DONE, FAILED, Outcome

EXACT_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1024**2)}
LAST_WORDS = 500
# Drills are judged by what happened and by large differences: blocks of the tiny model's size may be used again.
QUICK_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2),
}
OnLine = Callable[[Job, Mapping[str, Any]], None]


def environment_of(job: Job) -> dict[str, str]:
    """The process's environment."""
    malloc = QUICK_MALLOC if job.kind == "drill" else EXACT_MALLOC
    added = malloc if job.device == "cpu" else {}
    threads = {} if job.threads is None else {"OMP_NUM_THREADS": str(job.threads)}
    return {**os.environ, **added, **threads}


def run_job(job: Job, folder: Path, on_line: OnLine) -> list[Outcome]:
    """Run one job, or take it over from `folder` if it was finished there under the same settings.

    Returns one outcome for an arm, one for each name of a drill or estimate job.

    Raises:
        DiskError: the folder cannot be written.
    """
    lines = folder / f"{job.kind}s.jsonl" if job.kind != "arm" else folder / f"arm-{job.name}.jsonl"
    finished = lines.with_suffix(".done.json")
    if _was_finished(job, finished):
        return _outcomes(job, lines, 0, "")
    command = [sys.executable, "-P", "-m", "hpt.validate.worker", json.dumps(job.to_document())]
    with disk_errors(folder), tempfile.TemporaryFile("w+", encoding="utf-8") as errors, lines.open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own worker
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment_of(job)
        )
        try:
            _follow(process, log, job, on_line)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdout is not None, "it was asked for"
            process.stdout.close()
        errors.seek(0)
        message = errors.read().strip()
    outcomes = _outcomes(job, lines, code, message)
    if all(one.is_done for one in outcomes):
        write_json(finished, job.to_document())
    return outcomes


def _follow(process: subprocess.Popen[str], log: IO[str], job: Job, on_line: OnLine) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        log.write(line)
        log.flush()
        try:
            on_line(job, json.loads(line))
        except ValueError:
            continue  # a library's word on stdout is kept in the file and is no record


def _outcomes(job: Job, lines: Path, code: int, message: str) -> list[Outcome]:
    """What the lines of a process say; a result that is missing has failed with the process's last words."""
    records = list(read_lines(lines))
    last = message.splitlines()[-1][-LAST_WORDS:] if message else ""
    last = last or (f"ended by signal {-code}" if code < 0 else "ended without a result")
    if job.kind == "arm":
        return [_arm(job, records, code, last)]
    found = {one["name"]: one for one in records if one.get("kind") == "result"}
    return [_result(name, found.get(name), code, last) for name in job.names]


def _arm(job: Job, records: Sequence[Mapping[str, Any]], code: int, last: str) -> Outcome:
    by_kind = {str(one.get("kind")): one for one in records}
    is_done = code == 0 and "end" in by_kind
    return Outcome(
        name=job.name,
        status=DONE if is_done else FAILED,
        exit_code=code,
        message="" if is_done else last,
        start=by_kind.get("start", {}),
        steps=[one for one in records if one.get("kind") == "step"],
        end=by_kind.get("end", {}),
    )


def _result(name: str, line: Mapping[str, Any] | None, code: int, last: str) -> Outcome:
    if line is None or line["result"] is None:
        message = last if line is None else str(line["message"])
        return Outcome(name=name, status=FAILED, exit_code=code, message=message)
    return Outcome(name=name, status=DONE, exit_code=0, end=line["result"])


def _was_finished(job: Job, path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == job.to_document())
    except (OSError, ValueError):
        return False
