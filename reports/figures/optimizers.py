"""Figures of several inner optimizers: loss by length of each with the hybrids at T, and gains by a model's size."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import StrMethodFormatter

from hpt_reports.evidence import Source
from hpt_reports.figures.style import COLOURS, DASHES, GREY, MARKERS, draw, draw_panels
from hpt_reports.formatting import plain
from hpt_reports.inner_optimizers import hybrids_of, optimizers_of
from hpt_reports.ladder import Ladder
from hpt_reports.page import Figure

LEAST_TICK_RATIO = 1.3
HYBRID = "*"
"""Marker of a hybrid; its colour is that of its optimizer."""
Points = Mapping[str, Sequence[tuple[int, float]]]
"""By optimizer: updates, mean loss."""


def draw_lengths(source: Source, tag: str) -> Figure | None:
    """Final loss against updates of each optimizer by itself, the hybrids at T, a panel a workload; None without any.

    Losses are means over seeds; a hybrid with a diverged run is not drawn.
    """
    workloads = source.document["workloads"]
    curves = {name: _curves(values) for name, values in workloads.items()}
    hybrids = {name: _hybrids(values) for name, values in workloads.items()}
    shown = [name for name in workloads if curves[name]]
    if not shown:
        return None
    rows = [
        (workload, optimizer, kind, steps, loss)
        for workload in shown
        for kind, found in (("by itself", curves[workload]), ("hybrid", hybrids[workload]))
        for optimizer, points in found.items()
        for steps, loss in points
    ]
    data = pd.DataFrame(rows, columns=["workload", "optimizer", "kind", "updates", "mean_loss"])
    places = {one: place % len(COLOURS) for place, one in enumerate(optimizers_of(source))}

    def paint(canvas: Canvas, panels: Sequence[Axes]) -> None:
        for axes, name in zip(panels, shown, strict=True):
            _paint_panel(axes, places, curves[name], hybrids[name])
            axes.axvline(int(workloads[name]["steps"]), color=GREY, linestyle="--", linewidth=0.8)
            axes.set_xticks(_ticks(int(workloads[name]["steps"]), curves[name]))
            axes.minorticks_off()
            axes.set_title(name, loc="left")
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 4))

    alt = (
        "Mean final validation loss against updates of each optimizer by itself, a panel a workload, and of the hybrid "
        f"on each at T, which a line marks. {_in_words(workloads, shown, curves, hybrids)}"
    )
    title = "Final loss by length: optimizers by themselves, hybrids at T"
    return draw_panels(f"optimizers_{tag}", title, alt, data, paint, (source,), num_panels=len(shown))


def _curves(values: Mapping[str, Any]) -> Points:
    """Each optimizer by itself, the shortest length first."""
    alone = {name: one for name, one in values.get("optimizers", {}).items() if one is not None}
    return {
        name: sorted((length["steps"], float(length["mean_loss"])) for length in one["lengths"])
        for name, one in alone.items()
        if one["lengths"]
    }


def _hybrids(values: Mapping[str, Any]) -> Points:
    """The hybrid on each optimizer, a single point at T."""
    found: dict[str, list[tuple[int, float]]] = {}
    for optimizer, name in hybrids_of(values).items():
        measures = values["arms"][name]["measures"]
        losses = measures.get("final_losses") or []
        if losses and None not in losses and not measures["num_diverged"]:
            found[optimizer] = [(int(values["steps"]), fmean(losses))]
    return found


def _paint_panel(axes: Axes, places: Mapping[str, int], curves: Points, hybrids: Points) -> None:
    for name, points in curves.items():
        place = places.get(name, len(COLOURS) - 1)
        steps, losses = zip(*points, strict=True)
        look: dict[str, Any] = {"color": COLOURS[place], "linestyle": DASHES[place], "marker": MARKERS[place]}
        axes.plot(steps, losses, label=name, markersize=3.5, linewidth=1.2, **look)
    for name, points in hybrids.items():
        ((steps, loss),) = points
        colour = COLOURS[places.get(name, len(COLOURS) - 1)]
        look = {"markerfacecolor": colour, "markeredgecolor": "white", "markeredgewidth": 0.6, "linestyle": "none"}
        axes.plot(steps, loss, HYBRID, label=f"hybrid on {name}", markersize=11, zorder=5, **look)
    axes.set(xlabel="updates", ylabel="validation loss", xscale="log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def _ticks(full: int, curves: Points) -> list[int]:
    """T and lengths that were run, as far apart as their labels need."""
    kept = [full]
    for steps in sorted({steps for points in curves.values() for steps, _ in points}):
        if all(max(steps, other) >= LEAST_TICK_RATIO * min(steps, other) for other in kept):
            kept.append(steps)
    return sorted(kept)


def _in_words(
    workloads: Mapping[str, Any], shown: Sequence[str], curves: Mapping[str, Points], hybrids: Mapping[str, Points]
) -> str:
    """Losses at T, for who cannot see the figure."""
    parts: list[str] = []
    for name in shown:
        ends = {f"{one} by itself": dict(points).get(workloads[name]["steps"]) for one, points in curves[name].items()}
        ends |= {f"hybrid on {one}": points[0][1] for one, points in hybrids[name].items()}
        parts.append(f"{name}: {', '.join(f'{who} {plain(loss, 4)}' for who, loss in ends.items())}")
    return f"At T, {'; '.join(parts)}."


def draw_ladder(found: Ladder) -> Figure:
    """Gains in steps with their intervals against the number of weights, on a logarithmic axis."""
    names = list(found.gains)
    rows = [
        (rung.workload, rung.num_weights, name, ratio["value"], ratio["low"], ratio["high"])
        for name in names
        for rung in found.rungs
        if (ratio := rung.gains[name]) is not None
    ]
    data = pd.DataFrame(rows, columns=["workload", "num_weights", "gain", "steps_ratio", "low", "high"])

    def paint(axes: Axes) -> None:
        for place, name in enumerate(names):
            part = [row for row in rows if row[2] == name and row[3]]
            weights = [row[1] * _OFFSET ** (place - 1) for row in part]  # so that intervals do not hide each other
            colour = COLOURS[place]
            axes.plot(
                weights,
                [row[3] for row in part],
                color=colour,
                marker=MARKERS[place],
                linestyle=DASHES[place],
                label=name,
            )
            for x, row in zip(weights, part, strict=True):
                if row[4] is not None and row[5] is not None:
                    axes.plot([x, x], [row[4], row[5]], color=colour, linewidth=1.2)
        axes.axhline(1.0, color=GREY, linestyle="--", linewidth=1)
        axes.set(xlabel="weights of the model", ylabel="steps ratio, 95 % interval", xscale="log")
        axes.set_xticks(
            [rung.num_weights for rung in found.rungs],
            [f"{rung.workload}\n{rung.num_weights:,}" for rung in found.rungs],
        )
        axes.minorticks_off()
        axes.margins(x=0.15)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28))

    said = "; ".join(
        f"{rung.workload}, {rung.num_weights} weights: "
        + ", ".join(f"{name} {plain((ratio or {}).get('value'))}" for name, ratio in rung.gains.items())
        for rung in found.rungs
    )
    alt = f"Steps ratios with 95 % intervals against the number of weights; a line marks 1, no gain. {said}."
    return draw("ladder", "Gain against the number of weights", alt, data, paint, found.sources, height_inches=4.2)


_OFFSET = 1.03
