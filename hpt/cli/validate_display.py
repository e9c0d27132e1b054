"""How a validation is going, on stderr, and its document as tables: a row an arm, a row a check, the verdict.

On a terminal one line is redrawn, four times a second at most; elsewhere a plain line every fifth of an arm.
"""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType

from hpt.cli.console import fitted
from hpt.cli.tables import COLOURS, table
from hpt.validate.plan import ARMS, GIB, ValidationJob, gib_text
from hpt.validate.results import in_use

MIB = 1024**2
REDRAW_S = 0.25
PLAIN_LINES = 5


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
            self._console.print(job.measures)
        self._peak, self._shown = None, 0
        self._console.print(f"[{position}/{total}] {job.kind} {job.name}")

    def line(self, job: ValidationJob, line: Mapping[str, Any]) -> None:
        """One line of a job."""
        if line.get("kind") == "result":
            self._console.print(f"  {line['name']} done")
        if line.get("kind") != "step":
            return
        peaks = [one for one in (self._peak, line["peak_bytes"]) if one is not None]
        self._peak = max(peaks) if peaks else None
        step, now = f"  step {line['step']}/{job.steps}", f"now {_mib(in_use(line))}"
        facts = (step, f"{line['phase']:<7}", now, f"peak {_mib(self._peak)}")
        if self._console.is_terminal:
            if time.monotonic() - self._drawn_s >= REDRAW_S or line["step"] == job.steps:
                self._drawn_s = time.monotonic()
                end = "\r" if line["step"] < job.steps else "\n"
                self._console.print(fitted(facts, self._console.width), end=end)
        elif PLAIN_LINES * line["step"] // job.steps > self._shown:
            self._shown = PLAIN_LINES * line["step"] // job.steps
            self._console.print("  ".join(facts), soft_wrap=True)


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print it."""
    console.print(document["measures"])
    if document["arms"]:
        console.print(_arms(document["arms"], console.width))
    console.print(_checks(document["checks"], console.width))
    for name, estimate in document["estimates"].items():
        if estimate:
            console.print(_estimate(name, estimate, console.width))
    console.print(f"verdict: {document['verdict']}", style=COLOURS.get(document["verdict"]))


def _arms(arms: Mapping[str, Any], width: int) -> RenderableType:
    title = "memory by arm, above what the process held before the model was made"
    head = ("arm", "peak", "over plain", "growth/step", "copies", "clean-ups", "s/step", "what it is")
    rows = [
        (
            name,
            _mib(arm["peak_bytes"]),
            _number(arm["ratio"], ".3f"),
            _growth(arm["growth"]),
            _number(arm["num_copies"], "d"),
            _number(arm["num_cleanups"], "d"),
            _number(arm["step_s"], ".3f"),
            ARMS[name],
        )
        for name, arm in arms.items()
    ]
    return table(title, head, rows, width=width, keep=("peak", "over plain"), text=("what it is",))


def _growth(slope: Mapping[str, float] | None) -> str:
    if slope is None:
        return "not read"
    return f"{slope['per_step'] / MIB:+.4f} MiB"


def _checks(checks: list[Mapping[str, Any]], width: int) -> RenderableType:
    head = ("check", "verdict", "threshold", "evidence")
    rows = [(check["name"], check["verdict"], check["threshold"], check["evidence"]) for check in checks]
    return table("checks", head, rows, width=width, text=("check", "threshold", "evidence"))


def show_estimate(estimate: Mapping[str, Any], console: Console) -> None:
    """One estimate, with what it does not count."""
    console.print(_estimate(estimate["device"], estimate, console.width))
    for limit in estimate["limits"]:
        console.print(f"  {limit}")


def _estimate(name: str, estimate: Mapping[str, Any], width: int) -> RenderableType:
    where = f"batch {estimate['batch_size']}, sequence {estimate['seq_len']}, {estimate['dtype']}"
    peaks = f"plain {_mib(estimate['plain_peak_bytes'])}, hybrid {_mib(estimate['hybrid_peak_bytes'])}"
    categories = ("weights", "gradients", "optimizer_state", "activations", "workspace", "trajectory", "snapshot")
    head = ("phase", "peak", *(one.replace("_", " ") for one in categories))
    rows = [
        (phase, _mib(row["peak_bytes"]), *(_mib(row[one]) for one in categories))
        for phase, row in estimate["phases"].items()
    ]
    return table(f"estimate ({name}), {where}: {peaks}", head, rows, width=width, keep=("peak",))


def show_plans(document: Mapping[str, Any], console: Console) -> None:
    """The answer to "does it fit, and how"."""
    title = f"within {document['budget_bytes'] / GIB:.1f} GiB, {document['wanted_batch']} windows an update"
    head = ("dtype", "copies on", "fits", "windows at once", "accumulation", "peak", "least device")
    rows = [
        (
            plan["dtype"],
            plan["placement"],
            "yes" if plan["batch_size"] else "no",
            str(plan["batch_size"]),
            str(plan["accumulation_steps"]),
            _bound(plan) + _mib(plan["peak_bytes"]),
            _bound(plan) + gib_text(plan["least_budget_bytes"], is_bound=plan["is_bound"]),
        )
        for plan in document["tried"]
    ]
    console.print(table(title, head, rows, width=console.width, keep=("copies on", "fits", "least device")))
    console.print(document["answer"])


def _bound(plan: Mapping[str, Any]) -> str:
    return "over " if plan["is_bound"] else ""


def _mib(count: int | None) -> str:
    return "not read" if count is None else f"{count / MIB:.1f} MiB"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
