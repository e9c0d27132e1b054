"""How a validation is going, on stderr: arm, step, phase, memory now and at the peak.

On a terminal one line is redrawn, four times a second at most; elsewhere a plain line every fifth of an arm.
"""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from hpt.validate.plan import Job
from hpt.validate.results import in_use

REDRAW_S = 0.25
PLAIN_LINES = 5
MIB = 1024**2


class Watch:
    """Shows lines of jobs as they come.

    Args:
        console: on stderr.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._peak: int | None = None
        self._shown = 0
        self._drawn_s = 0.0

    def begin(self, job: Job, position: int, total: int) -> None:
        """A job begins."""
        self._peak, self._shown = None, 0
        self._console.print(f"[{position}/{total}] {job.kind} {job.name}", highlight=False, markup=False)

    def __call__(self, job: Job, line: Mapping[str, Any]) -> None:
        """One line of a job."""
        if line.get("kind") == "result":
            self._console.print(f"  {line['name']} done", highlight=False, markup=False)
        if line.get("kind") != "step":
            return
        peaks = [one for one in (self._peak, line["peak_bytes"]) if one is not None]
        self._peak = max(peaks) if peaks else None
        text = (
            f"  step {line['step']}/{job.steps}  {line['phase']:<7}  now {_mib(in_use(line))}  peak {_mib(self._peak)}"
        )
        if self._console.is_terminal:
            if time.monotonic() - self._drawn_s >= REDRAW_S or line["step"] == job.steps:
                self._drawn_s = time.monotonic()
                self._console.print(text, end="\r" if line["step"] < job.steps else "\n", highlight=False)
        elif PLAIN_LINES * line["step"] // job.steps > self._shown:
            self._shown = PLAIN_LINES * line["step"] // job.steps
            self._console.print(text, highlight=False)


def _mib(count: int | None) -> str:
    return "not read" if count is None else f"{count / MIB:.1f} MiB"
