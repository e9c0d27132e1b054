"""Figures of the benchmarks: cost over the horizon, the spread of every scenario, and where an update's time goes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from hpt_reports.claims import original
from hpt_reports.evidence import Source
from hpt_reports.figures.style import COLOURS, GREY, draw, look, plain_log_axis
from hpt_reports.formatting import file_name, plain, seconds
from hpt_reports.page import Figure
from hpt_reports.step_time import STEP_WORK, workload_of
from hpt_reports.timings import CONTROL, SCENARIOS, Timings, horizon_line

GROUP = "rssm_prediction/"


def draw_horizons(runs: Sequence[Timings]) -> Figure:
    """Time of a prediction over its horizon, here and for the original."""
    known = original()["benchmarks"]
    names = [name for name in SCENARIOS if name.startswith(GROUP)]
    steps = [int(name.rpartition("_")[2]) for name in names]
    series: dict[str, list[tuple[int, float]]] = {
        "original, claimed": [(at, known[name]["claimed_s"]) for at, name in zip(steps, names, strict=True)],
        "original, measured": [(at, known[name]["measured_s"]) for at, name in zip(steps, names, strict=True)],
    }
    for one in runs:
        pairs = [(at, one.median_s(name)) for at, name in zip(steps, names, strict=True)]
        series[f"hpt, {one.preset} preset"] = [(at, value) for at, value in pairs if value is not None]
    rows = [(name, at, value) for name, points in series.items() for at, value in points]
    data = pd.DataFrame(rows, columns=["series", "predicted_steps", "median_s"])

    def paint(axes: Axes) -> None:
        for index, (name, points) in enumerate(series.items()):
            at, value = zip(*points, strict=True)
            axes.plot(at, np.array(value) * 1e3, label=name, **look(index))
        axes.set(xscale="log", yscale="log", xlabel="predicted steps in a call", ylabel="time of a call, ms")
        axes.set_xticks(steps, [str(at) for at in steps])
        axes.xaxis.set_minor_formatter(NullFormatter())
        plain_log_axis(axes.yaxis)
        axes.legend()

    slopes = ", ".join(
        f"{one.preset} preset {seconds(line.slope_s)} a step" for one in runs if (line := horizon_line(one)) is not None
    )
    alt = f"Time of a call over the number of predicted steps, both axes logarithmic. Slopes: {slopes}."
    sources = tuple(one.source for one in runs)
    return draw("horizons", "Cost of a prediction over its horizon", alt, data, paint, sources)


def draw_spread(timings: Timings) -> Figure:
    """Every value of every scenario over its median."""
    order = [name for name in (*SCENARIOS, CONTROL) if name in timings.rows.index]
    order += [str(name) for name in timings.rows.index if name not in order]
    frame = timings.values.copy()
    medians: Any = timings.rows["median_s"]
    frame["over_median"] = frame["value_s"] / frame["scenario"].map(medians)
    table = frame.groupby("scenario", sort=False)["over_median"].describe(percentiles=[0.05, 0.25, 0.5, 0.75, 0.95])
    data = table.loc[order].reset_index()[["scenario", "count", "min", "5%", "25%", "50%", "75%", "95%", "max"]]

    def paint(axes: Axes) -> None:
        values = [frame.loc[frame["scenario"] == name, "over_median"].to_numpy() for name in order]
        boxes = axes.boxplot(
            values,
            orientation="horizontal",
            widths=0.6,
            whis=(5, 95),
            patch_artist=True,
            flierprops={"marker": ".", "markersize": 3, "markerfacecolor": GREY, "markeredgecolor": GREY},
            medianprops={"color": "black", "linewidth": 1.2},
        )
        for box in boxes["boxes"]:
            box.set(facecolor="#CFE3F1", edgecolor=COLOURS[1])
        axes.axvspan(0.95, 1.05, color="#EEEEEE", zorder=0)
        axes.set_yticks(range(1, len(order) + 1), order, fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="value over the scenario's median (grey band: within 5 %)", xscale="log")
        plain_log_axis(axes.xaxis)

    widest = str(data.loc[(data["max"] - data["min"]).idxmax(), "scenario"]) if len(data) else "none"
    largest = float(data["max"].max()) if len(data) else 0.0
    alt = (
        f"Box of the middle half, whiskers at the 5th and 95th percentile, dots beyond, for {len(order)} scenarios, "
        f"each over its own median. Widest: {widest}; the largest value is {plain(largest)} times its median."
    )
    title = f"Spread of the timings, {timings.preset} preset"
    return draw(f"spread_{timings.preset}", title, alt, data, paint, (timings.source,), height_inches=4.6)


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
