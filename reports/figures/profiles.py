"""Figure of a profile: where the time of an update goes."""

import pandas as pd
from matplotlib.axes import Axes

from reports.evidence import Source
from reports.figures.style import COLOURS, GREY, draw, file_name
from reports.training_runs import STEP_WORK, workload_of
from reports.view import Figure


def draw_parts(source: Source) -> Figure:
    """Time of an update by part, what the plain loop does too in grey."""
    parts = sorted(source.document["parts"]["part_s"].items(), key=lambda item: item[1])
    workload = workload_of(source)
    data = pd.DataFrame(parts, columns=["part", "update_s"])

    def paint(axes: Axes) -> None:
        colours = [GREY if name in STEP_WORK else COLOURS[1] for name, _ in parts]
        hatches = ["" if name in STEP_WORK else "//" for name, _ in parts]
        bars = axes.barh([name for name, _ in parts], [value * 1e3 for _, value in parts], color=colours)
        for bar, hatch in zip(bars, hatches, strict=True):
            bar.set(hatch=hatch, edgecolor="white")
        axes.bar_label(bars, [f"{value * 1e3:.3g}" for _, value in parts], padding=3, fontsize=8)
        axes.margins(x=0.12)
        axes.set(xlabel="time of an update, ms (grey: the plain loop does it too)")

    top = ", ".join(f"{name} {value * 1e3:.3g} ms" for name, value in reversed(parts[-4:]))
    alt = f"Bars of the time that each part takes of an update on {workload}. Largest: {top}."
    name = f"parts_{file_name(workload)}"
    return draw(
        name,
        f"Where an update's time goes, {workload}",
        alt,
        data,
        paint,
        (source,),
        height_inches=0.28 * len(parts) + 1.1,
    )
