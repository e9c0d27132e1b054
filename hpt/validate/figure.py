"""Memory over steps as a picture, the phases of the hybrid arm shaded, and the same numbers as CSV."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hpt.jsonfiles import disk_errors
from hpt.validate.plan import HYBRID
from hpt.validate.results import ValidationResult, in_use

COLUMNS = (
    *("arm", "call", "step", "phase", "loss", "allocated_bytes", "reserved_bytes", "process_bytes"),
    *("device_bytes", "host_used_bytes", "peak_bytes", "wall_s"),
)
SHADES = {"WARMUP": "#eeeeee", "FULL": "#ffffff", "PREDICT": "#c44e52", "CORRECT": "#dde8f5"}
MIB = 1024**2


def write_csv(path: Path, arms: Mapping[str, ValidationResult]) -> None:
    """A row a call; a value that was not read is empty.

    Raises:
        DiskError: the file cannot be written.
    """
    with disk_errors(path), path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        rows.writeheader()
        for name, arm in arms.items():
            rows.writerows({**step, "arm": name} for step in arm.steps)


def write_figure(path: Path, arms: Mapping[str, ValidationResult], title: str) -> None:
    """In use (line) and peak (thin line) of each arm, of each of its processes, over its calls.

    Raises:
        DiskError: the file cannot be written.
    """
    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    hybrid = next((arm.steps for arm in arms.values() if arm.name == HYBRID), ())
    for phase, first, last in _stretches(hybrid):
        axes.axvspan(first - 0.5, last + 0.5, color=SHADES[phase], zorder=0, lw=0)
    for index, (name, arm) in enumerate(arms.items()):
        colour = f"C{index}"
        calls = [step["call"] for step in arm.steps]
        axes.plot(calls, [_mib(in_use(step)) for step in arm.steps], color=colour, label=f"{name}, in use")
        axes.plot(calls, [_mib(step["peak_bytes"]) for step in arm.steps], color=colour, lw=0.8, ls="--")
    axes.set(xlabel="call of the trainer", ylabel="MiB", title=title)
    axes.plot([], [], color="grey", lw=0.8, ls="--", label="peak since the call before")
    for phase, shade in SHADES.items():
        axes.plot([], [], color=shade, lw=8, label=phase)
    axes.legend(fontsize="small", ncols=2)
    with disk_errors(path):
        figure.savefig(path, metadata={"Software": None})


def _mib(count: int | None) -> float | None:
    return None if count is None else count / MIB


def _stretches(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int, int]]:
    """(phase, first call, last call) of each run of calls in one phase."""
    first = 0
    for index, step in enumerate(steps):
        if index + 1 == len(steps) or steps[index + 1]["phase"] != step["phase"]:
            yield step["phase"], steps[first]["call"], step["call"]
            first = index + 1
