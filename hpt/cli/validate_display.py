"""How a validation is going, on stderr, and its document as tables: a row an arm, a row a check, the verdict.

On a terminal one line is redrawn, four times a second at most; elsewhere a plain line every fifth of an arm.
"""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from hpt.validate.plan import ARMS, ValidationJob
from hpt.validate.results import in_use

MIB = 1024**2
GIB = 1024**3
REDRAW_S = 0.25
PLAIN_LINES = 5
COLOURS = {"passed": "green", "failed": "red", "inconclusive": "yellow", "reported": "cyan"}


class ValidationProgress:
    """Shows lines of jobs as they come.

    Args:
        console: on stderr.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._peak: int | None = None
        self._shown = 0
        self._drawn_s = 0.0

    def begin(self, job: ValidationJob, position: int, total: int) -> None:
        """A job begins; before the first one, say what is measured."""
        if position == 1:
            self._console.print(job.measures, highlight=False, markup=False)
        self._peak, self._shown = None, 0
        self._console.print(f"[{position}/{total}] {job.kind} {job.name}", highlight=False, markup=False)

    def line(self, job: ValidationJob, line: Mapping[str, Any]) -> None:
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


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print it."""
    console.print(document["measures"], markup=False)
    if document["arms"]:
        console.print(_arms(document["arms"]))
    console.print(_checks(document["checks"]))
    for name, estimate in document["estimates"].items():
        if estimate:
            console.print(_estimate(name, estimate))
    console.print(f"verdict: {document['verdict']}", style=COLOURS.get(document["verdict"]), markup=False)


def _arms(arms: Mapping[str, Any]) -> Table:
    table = Table(title="memory by arm, above what the process held before the model was made")
    for column in ("arm", "what it is", "peak", "over plain", "copies", "clean-ups", "growth/step", "s/step"):
        table.add_column(column)
    for name, arm in arms.items():
        table.add_row(
            name,
            ARMS[name],
            _mib(arm["peak_bytes"]),
            _number(arm["ratio"], ".3f"),
            _number(arm["num_copies"], "d"),
            _number(arm["num_cleanups"], "d"),
            _growth(arm["growth"]),
            _number(arm["step_s"], ".3f"),
        )
    return table


def _growth(slope: Mapping[str, float] | None) -> str:
    if slope is None:
        return "not read"
    return f"{slope['per_step'] / MIB:+.4f} MiB"


def _checks(checks: list[Mapping[str, Any]]) -> Table:
    table = Table(title="checks")
    for column in ("check", "verdict", "threshold", "evidence"):
        table.add_column(column)
    for check in checks:
        colour = COLOURS[check["verdict"]]
        table.add_row(check["name"], f"[{colour}]{check['verdict']}[/]", check["threshold"], check["evidence"])
    return table


def show_estimate(estimate: Mapping[str, Any], console: Console) -> None:
    """One estimate, with what it does not count."""
    console.print(_estimate(estimate["device"], estimate))
    for limit in estimate["limits"]:
        console.print(f"  {limit}", markup=False)


def _estimate(name: str, estimate: Mapping[str, Any]) -> Table:
    where = f"batch {estimate['batch_size']}, sequence {estimate['seq_len']}, {estimate['dtype']}"
    table = Table(title=f"estimate ({name}), {where}: plain {_mib(estimate['plain_peak_bytes'])}, "
                  f"hybrid {_mib(estimate['hybrid_peak_bytes'])}")  # fmt: skip
    categories = ("Parameter", "Gradient", "Optstate", "Activation", "Temp", "Other")
    for column in ("phase", "peak", *(one.lower() for one in categories)):
        table.add_column(column)
    for phase, row in estimate["phases"].items():
        table.add_row(phase, _mib(row["peak_bytes"]), *(_mib(row[one]) for one in categories))
    return table


def show_plans(document: Mapping[str, Any], console: Console) -> None:
    """The answer to "does it fit, and how"."""
    table = Table(
        title=f"within {document['budget_bytes'] / GIB:.1f} GiB, {document['wanted_batch']} windows an update"
    )
    for column in ("dtype", "copies on", "fits", "windows at once", "accumulation", "peak", "least device"):
        table.add_column(column)
    for plan in document["tried"]:
        table.add_row(
            plan["dtype"],
            plan["placement"],
            "yes" if plan["batch_size"] else "no",
            str(plan["batch_size"]),
            str(plan["accumulation_steps"]),
            _bound(plan) + _mib(plan["peak_bytes"]),
            _bound(plan) + _mib(plan["least_budget_bytes"]),
        )
    console.print(table)
    console.print(document["answer"], markup=False)


def _bound(plan: Mapping[str, Any]) -> str:
    return "over " if plan["is_bound"] else ""


def _mib(count: int | None) -> str:
    return "not read" if count is None else f"{count / MIB:.1f} MiB"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
