"""Figures of memory validations: memory over the calls, and peaks by arm."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from hpt_reports.figures.style import draw, look
from hpt_reports.formatting import file_name, num_bytes
from hpt_reports.memory_runs import Validation
from hpt_reports.page import Figure

MIB = 2**20
SHADED_ARM = "hybrid"
SHADES = {"WARMUP": ("#E9E9E9", ""), "PREDICT": ("#D55E00", "//"), "CORRECT": ("#D9EAF6", "..")}


def draw_steps(validation: Validation, frame: pd.DataFrame) -> Figure:
    """Memory in use over the calls of each arm, phases of the hybrid arm shaded."""
    wanted = frame.filter(items=["arm", "call", "phase", "in_use_bytes", "peak_bytes"])
    arms = [str(arm) for arm in wanted["arm"].unique().tolist()]

    def paint(axes: Axes) -> None:
        shaded: Any = wanted[wanted["arm"] == SHADED_ARM]
        for phase, first, last in _stretches(shaded):
            if phase in SHADES:
                colour, hatch = SHADES[phase]
                axes.axvspan(
                    first - 0.5, last + 0.5, facecolor=colour, alpha=0.5, hatch=hatch, edgecolor="white", linewidth=0
                )
        for index, arm in enumerate(arms):
            part = wanted[wanted["arm"] == arm]
            axes.plot(
                part["call"], part["in_use_bytes"] / MIB, label=arm, **look(index), markevery=max(1, len(part) // 8)
            )
        axes.set(xlabel="call of the trainer", ylabel=f"{validation.measured.split(' (')[0]}, MiB")
        shades = [
            Patch(facecolor=colour, hatch=hatch, alpha=0.5, label=phase) for phase, (colour, hatch) in SHADES.items()
        ]
        handles = [*axes.get_legend_handles_labels()[0], *shades]
        axes.figure.legend(handles=handles, ncols=len(handles), loc="outside lower center", fontsize=7)

    peaks: Any = wanted.groupby("arm", sort=False)["in_use_bytes"].max()
    said = ", ".join(f"{arm} at most {num_bytes(float(peaks[arm]))}" for arm in arms if peaks[arm] == peaks[arm])
    alt = f"Memory in use after each call, one line an arm, phases of the hybrid arm shaded: {said}."
    name = f"memory_{file_name(validation.model)}_{file_name(validation.where)}"
    title = f"Memory over the run, {validation.model} on {validation.where}"
    return draw(name, title, alt, wanted, paint, (validation.source,), height_inches=4.0)


def _stretches(part: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    """(phase, first call, last call) of each run of calls in one phase."""
    groups = (part["phase"] != part["phase"].shift()).cumsum()
    for _, stretch in part.groupby(groups, sort=False):
        yield str(stretch["phase"].iloc[0]), int(stretch["call"].iloc[0]), int(stretch["call"].iloc[-1])
