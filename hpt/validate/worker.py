"""The process of one job: `python -m hpt.validate.worker JOB`, JSON lines on stdout, the rest on stderr.

The exit code is the error's; 7 when memory ran out.
"""

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hpt.errors import HptError, OutOfMemory
from hpt.records import jsonable
from hpt.validate.plan import Job


def main(arguments: Sequence[str]) -> int:
    """Do the job and return the exit code."""
    job = Job.from_document(json.loads(arguments[0]))
    try:
        _carry_out(job)
    except HptError as error:
        print(f"{job.kind} {job.name}: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        from hpt.memory.manager import is_out_of_memory  # noqa: PLC0415 (imports torch)

        if not is_out_of_memory(error):
            raise
        print(f"{job.kind} {job.name}: out of memory: {str(error).splitlines()[0]}", file=sys.stderr)
        return OutOfMemory.exit_code
    return 0


def _carry_out(job: Job) -> None:
    # each imports torch, and no job needs what the others do
    if job.kind == "arm":
        from hpt.validate.arm import run_arm  # noqa: PLC0415

        run_arm(job, emit)
    elif job.kind == "drill":
        from hpt.validate.drills import run_drill  # noqa: PLC0415

        _each(job, run_drill)
    else:
        from hpt.validate.estimating import estimate_job  # noqa: PLC0415

        _each(job, estimate_job)


def _each(job: Job, make: Callable[[Job], dict[str, Any]]) -> None:
    """One result after the other; an error in one is its result, and the others follow."""
    for name in job.names:
        one = replace(job, name=name)
        try:
            emit({"kind": "result", "name": name, "result": make(one)})
        except Exception as error:  # noqa: BLE001 (whatever it is belongs to this one)
            traceback.print_exc()
            message = " ".join(f"{type(error).__name__}: {error}".split())
            emit({"kind": "result", "name": name, "result": None, "message": message})


def emit(document: dict[str, Any]) -> None:
    """One line of strict JSON."""
    print(json.dumps(jsonable(document), allow_nan=False), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
