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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from hpt.jsonfiles import disk_errors, read_lines, write_json
from hpt.validate.plan import Job
from hpt.validate.results import DONE, FAILED, Outcome

EXACT_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1024**2)}
LAST_WORDS = 500
OnLine = Callable[[Job, Mapping[str, Any]], None]


def environment_of(job: Job) -> dict[str, str]:
    """The process's environment."""
    added = EXACT_MALLOC if job.device == "cpu" else {}
    threads = {} if job.threads is None else {"OMP_NUM_THREADS": str(job.threads)}
    return {**os.environ, **added, **threads}


def run_job(job: Job, folder: Path, on_line: OnLine) -> Outcome:
    """Run one job, or take it over from `folder` if it was finished there under the same settings.

    Raises:
        DiskError: the folder cannot be written.
    """
    known = _finished(job, folder)
    if known is not None:
        return known
    lines = folder / f"{job.kind}-{job.name}.jsonl"
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
        errors.seek(0)
        message = errors.read().strip()
    outcome = _outcome(job, lines, code, message)
    write_json(folder / f"{job.kind}-{job.name}.json", {"job": job.to_document(), "status": outcome.status})
    return outcome


def _follow(process: subprocess.Popen[str], log: IO[str], job: Job, on_line: OnLine) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        log.write(line)
        log.flush()
        try:
            on_line(job, json.loads(line))
        except ValueError:
            continue  # a library's word on stdout is kept in the file and is no record


def _outcome(job: Job, lines: Path, code: int, message: str) -> Outcome:
    records = list(read_lines(lines))
    ends = [one for one in records if one.get("kind") == "end"]
    starts = [one for one in records if one.get("kind") == "start"]
    last = message.splitlines()[-1][-LAST_WORDS:] if message else ""
    is_done = code == 0 and bool(ends)
    if not is_done and not last:
        last = f"ended by signal {-code}" if code < 0 else "ended without a result"
    return Outcome(
        name=job.name,
        status=DONE if is_done else FAILED,
        exit_code=code,
        message="" if is_done else last,
        start=starts[0] if starts else {},
        steps=[one for one in records if one.get("kind") == "step"],
        end=ends[-1] if ends else {},
    )


def _finished(job: Job, folder: Path) -> Outcome | None:
    path = folder / f"{job.kind}-{job.name}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if stored != {"job": job.to_document(), "status": DONE}:
        return None
    return _outcome(job, path.with_suffix(".jsonl"), 0, "")
