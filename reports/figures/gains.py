"""What each inner optimizer is worth by itself and with jumps, after equally many updates and at equal work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from hpt_reports.bounds import ABOVE, BELOW
from hpt_reports.evidence import Source
from hpt_reports.figures.style import COLOURS, GREY, draw_pair, plain_log_axis
from hpt_reports.formatting import bounded
from hpt_reports.inner_optimizers import hybrids_of, optimizers_of, peers_of
from hpt_reports.page import Figure

NAME = "gains"
KINDS = {
    "steps_ratio": ("After equally many updates", "steps ratio over {reference} by itself"),
    "work_ratio": ("At equal work", "work ratio over {reference} by itself"),
}
ROW_INCHES, BESIDES_INCHES = 0.27, 1.3
WORDS = ("by itself", "with jumps")
OFFSET = 0.17
_MARKS = {None: "o", ABOVE: ">", BELOW: "<"}
"""Of the two points of a row, so that their intervals do not hide each other."""


@dataclass(frozen=True, slots=True)
class Gain:
    """One optimizer on one workload; ratios over the reference by itself, None where not measured.

    Attributes:
        workload, optimizer: names.
        alone: by kind, without jumps; 1 for the reference.
        hybrid: by kind, with jumps.
    """

    workload: str
    optimizer: str
    alone: Mapping[str, Mapping[str, Any]] | None
    hybrid: Mapping[str, Mapping[str, Any]] | None


def gains_of(source: Source) -> list[Gain]:
    """A row an optimizer, workload by workload."""
    rows: list[Gain] = []
    for workload, values in source.document["workloads"].items():
        peers, hybrids = peers_of(values["arms"]), hybrids_of(values)
        one: Mapping[str, Any] = {kind: {"value": 1.0, "low": None, "high": None} for kind in KINDS}
        names = optimizers_of(source)
        alone = {names[0]: one} | peers
        for optimizer in names:
            arm = hybrids.get(optimizer)
            hybrid = None if arm is None else values["arms"][arm]["measures"]
            rows.append(Gain(workload, optimizer, alone.get(optimizer), hybrid))
    return rows


def draw_gains(source: Source) -> Figure:
    """Two panels on logarithmic axes, a row an optimizer: hollow by itself, filled with jumps."""
    rows = gains_of(source)
    points = [
        (row.workload, row.optimizer, words, kind, found[kind]["value"], found[kind]["low"], found[kind]["high"])
        for row in rows
        for words, found in zip(WORDS, (row.alone, row.hybrid), strict=True)
        if found is not None
        for kind in KINDS
    ]
    data = pd.DataFrame(points, columns=["workload", "optimizer", "jumps", "kind", "ratio", "low", "high"])
    reference, *_ = names = optimizers_of(source)
    places = {name: place for place, name in enumerate(names)}

    def paint(canvas: Canvas, panels: Sequence[Axes]) -> None:
        for axes, (kind, (heading, label)) in zip(panels, KINDS.items(), strict=True):
            _paint(axes, rows, kind, places)
            axes.set_title(heading, loc="left")
            axes.set_xlabel(label.format(reference=reference))
        panels[0].set_yticks(range(len(rows)), [f"{row.workload}  {row.optimizer}" for row in rows])
        panels[1].set_yticks(range(len(rows)), [""] * len(rows))
        shown = [
            Line2D([], [], color=GREY, marker="o", linewidth=1.0, markerfacecolor=face) for face in ("white", GREY)
        ]
        canvas.legend(shown, WORDS, loc="outside lower center", ncols=2)

    said = "; ".join(_said(row) for row in rows)
    alt = (
        f"Ratios to {reference} by itself with 95 % intervals, in updates and in work, of each inner optimizer by "
        f"itself and with jumps; a triangle is a bound that points to where the truth lies. Updates, then work: {said}."
    )
    title = "Each inner optimizer by itself and with jumps"
    height_inches = ROW_INCHES * len(rows) + BESIDES_INCHES
    return draw_pair(NAME, title, alt, data, paint, (source,), height_inches=height_inches)


def _paint(axes: Axes, rows: Sequence[Gain], kind: str, places: Mapping[str, int]) -> None:
    for place, row in enumerate(rows):
        colour = COLOURS[places[row.optimizer]]
        for found, shift, face in ((row.alone, -OFFSET, "white"), (row.hybrid, OFFSET, colour)):
            if found is None or not found[kind]["value"]:
                continue  # not measured, or a run diverged
            value, low, high = (found[kind][name] for name in ("value", "low", "high"))
            if low is not None and high is not None:
                axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.0)
            axes.plot(
                value, place + shift, _MARKS[found[kind].get("bound")], color=colour, markerfacecolor=face, markersize=5
            )
        if place and row.workload != rows[place - 1].workload:
            axes.axhline(place - 0.5, color=GREY, linewidth=0.6)
    axes.axvline(1.0, color=GREY, linestyle="--", linewidth=1)
    axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    plain_log_axis(axes.xaxis)


def _said(row: Gain) -> str:
    """Ratios of a row, for who cannot see the figure."""
    words = [
        f"{name} {', '.join(bounded(found[kind]) for kind in KINDS)}"
        for name, found in zip(WORDS, (row.alone, row.hybrid), strict=True)
        if found is not None
    ]
    return f"{row.workload} on {row.optimizer} {', '.join(words)}"
