"""How a validation is going, on stderr, and its document as tables: a row an arm, a row a check, the verdict.

On a terminal one line is redrawn, four times a second at most; elsewhere a plain line every fifth of an arm.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from hpt.cli.closing import MORE, Closing, report_of
from hpt.cli.console import duration, fitted
from hpt.cli.tables import COLOURS, table
from hpt.validate.plan import ARMS, GIB, ValidationJob, gib_text
from hpt.validate.results import in_use

MIB = 1024**2
REDRAW_S = 0.25
PLAIN_LINES = 5
GPU_GB = 16
"""Budget that is proposed to an estimate, in GiB: a common size of GPU."""


class ValidationProgress:
    """Shows lines of jobs as they come.

    Args:
        console: on stderr.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._began_s = clock()
        self._peak: int | None = None
        self._shown = 0
        self._drawn_s = 0.0

    def begin(self, job: ValidationJob, position: int, total: int) -> None:
        """A job begins; before the first one, say what is measured."""
        if position == 1:
            self._console.print(job.measures)
        self._peak, self._shown, self._began_s = None, 0, self._clock()
        group = "" if job.processes == 1 else f", {job.processes} processes, of which the first is shown"
        self._console.print(f"[{position}/{total}] {job.kind} {job.name}{group}")

    def line(self, job: ValidationJob, line: Mapping[str, Any]) -> None:
        """Take in one line that a job sent, and show it if it is a step that is due, or a result."""
        if line.get("kind") == "result":
            self._console.print(f"  {line['name']} done")
        if line.get("kind") != "step":
            return
        peaks = [one for one in (self._peak, line["peak_bytes"]) if one is not None]
        self._peak = max(peaks) if peaks else None
        step, now = f"  step {line['step']}/{job.steps}", f"now {_mib(in_use(line))}"
        left_s = (self._clock() - self._began_s) / max(1, line["step"]) * (job.steps - line["step"])
        facts = (step, f"{line['phase']:<7}", now, f"peak {_mib(self._peak)}", f"{duration(left_s)} left")
        if self._console.is_terminal:
            if time.monotonic() - self._drawn_s >= REDRAW_S or line["step"] == job.steps:
                self._drawn_s = time.monotonic()
                end = "\r" if line["step"] < job.steps else "\n"
                self._console.print(fitted(facts, self._console.width), end=end)
        elif PLAIN_LINES * line["step"] // job.steps > self._shown:
            self._shown = PLAIN_LINES * line["step"] // job.steps
            self._console.print("  ".join(facts), soft_wrap=True)


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print a validation: table of arms, table of checks, estimates, verdict; from its run.json."""
    console.print(document["measures"])
    if document["arms"]:
        console.print(_arms(document["arms"], console.width))
    console.print(_checks(document["checks"], console.width))
    for name, estimate in document["estimates"].items():
        if estimate:
            console.print(_estimate(name, estimate, console.width))
    console.print(f"verdict: {document['verdict']}", style=COLOURS.get(document["verdict"]))


def closing_of(document: Mapping[str, Any], folder: Path) -> Closing:
    """The last lines of a validation, from its run.json."""
    settings, checks, verdict = document["settings"], document["checks"], document["verdict"]
    words = {name: [one for one in checks if one["verdict"] == name] for name in ("passed", "failed", "inconclusive")}
    hybrid = document["arms"].get("hybrid") or {}
    ratio, peak = hybrid.get("ratio"), hybrid.get("peak_bytes")
    peaks = (
        ""
        if ratio is None or peak is None
        else f"; peak {peak / MIB:.1f} MiB with jumps, {ratio:.2f} times that without"
    )
    where, model = settings["device"], ["hpt", "validate-vram", "--model", settings["model"]]
    group: list[str] = []
    if (processes := settings.get("processes", 1)) > 1:
        where, group = f"{where}, {processes} processes an arm", ["--processes", str(processes)]
    result = f"{settings['model']} on {where}: {verdict}, {len(words['passed'])} checks passed{peaks}"
    if document["num_out_of_memory"]:
        fits = shlex.join([*model, "--estimate", "--budget-gb", str(GPU_GB)])
        return Closing(result, "Memory ran out, so peaks are unknown. The estimate says what fits.", fits)
    if words["failed"]:
        named = "; ".join(f"{one['name']} ({one['evidence']})" for one in words["failed"])
        return Closing(result, f"Not as it should be: {named}.", report_of("vram", folder))
    if words["inconclusive"]:
        named = ", ".join(one["name"] for one in words["inconclusive"])
        longer = shlex.join([*model, *group, "--steps", str(MORE * settings["steps"]), "--out", f"{folder}-longer"])
        return Closing(result, f"Not decided: {named}; a longer run decides more.", longer)
    where = "; nothing here was measured on a GPU" if settings["device"] == "cpu" else ""
    return Closing(result, f"Every check that was made holds{where}.", report_of("vram", folder))


def closing_of_estimate(document: Mapping[str, Any], name: str) -> Closing:
    """The last lines of an estimate, from its estimate.json; `name` is the model's."""
    found, plans = document["estimate"], document["plans"]
    batch = f"batch {found['batch_size']}, sequence {found['seq_len']}"
    result = f"{name}, {batch}: {found['hybrid_peak_bytes'] / GIB:.2f} GiB with jumps, estimated"
    model = ["hpt", "validate-vram", "--model", name]
    if plans is None:
        fits = shlex.join([*model, "--estimate", "--budget-gb", str(GPU_GB)])
        return Closing(result, f"Without jumps {found['plain_peak_bytes'] / GIB:.2f} GiB; nothing was measured.", fits)
    return Closing(result, str(plans["answer"]), shlex.join([*model, "--device", "cuda"]))


def _arms(arms: Mapping[str, Any], width: int) -> RenderableType:
    by_arm: dict[str, Any] = {name: arm.get("ranks") or [arm] for name, arm in arms.items()}
    num_ranks = max(map(len, by_arm.values()))
    title = "memory by arm, above what the process held before the model was made"
    if num_ranks > 1:
        title += f"; from the least to the most of {num_ranks} processes"
    head = ("arm", "peak", "over plain", "growth/step", "copies", "clean-ups", "s/step", "what it is")
    rows = [
        (
            name,
            _range(ranks, "peak_bytes", _mib),
            _range(ranks, "ratio", lambda one: _number(one, ".3f")),
            _range([arm["growth"] or {} for arm in ranks], "per_step", _growth),
            _range(ranks, "num_copies", lambda one: _number(one, "d")),
            _range(ranks, "num_cleanups", lambda one: _number(one, "d")),
            _range(ranks, "step_s", lambda one: _number(one, ".3f")),
            ARMS[name],
        )
        for name, ranks in by_arm.items()
    ]
    return table(title, head, rows, width=width, keep=("peak", "over plain"), text=("what it is",))


def _range(ranks: Sequence[Mapping[str, Any]], name: str, text: Callable[[Any], str]) -> str:
    """The least and the most over processes, where they read differently."""
    found = sorted(one[name] for one in ranks if one.get(name) is not None)
    shown = [text(one) for one in (found[0], found[-1])] if found else [text(None)]
    missing = ["?"] if 0 < len(found) < len(ranks) else []
    return " to ".join([*dict.fromkeys(shown), *missing])


def _growth(per_step: float | None) -> str:
    return "not read" if per_step is None else f"{per_step / MIB:+.4f} MiB"


def _checks(checks: list[Mapping[str, Any]], width: int) -> RenderableType:
    head = ("check", "verdict", "threshold", "evidence")
    rows = [(check["name"], check["verdict"], check["threshold"], check["evidence"]) for check in checks]
    return table("checks", head, rows, width=width, text=("check", "threshold", "evidence"))


def show_estimate(estimate: Mapping[str, Any], console: Console) -> None:
    """Print one estimate by phase, and what it leaves out."""
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
    """Print the table of tried settings against a budget, and the answer."""
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
