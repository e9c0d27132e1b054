"""One look for all figures: colours that the colour-blind can tell apart, doubled by markers and dashes; equal bytes.

Colours are those of Okabe and Ito (2008). A drawing carries no date and no random names, and its letters are outlines,
so that it looks the same everywhere and equal data give an equal file under the pinned versions.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from hpt_reports.evidence import Source
from hpt_reports.page import Figure

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 2, 1, 2)))
GREY = "#6E6E6E"
WIDTH_INCHES = 7.2
PANEL_INCHES, LEGEND_INCHES = 2.6, 0.6
"""Height of a row of panels, and of the legend that they share."""
_MANY_DECADES, _FEW_DECADES = 3.0, 0.75
SETTINGS: dict[str, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.axisbelow": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "svg.fonttype": "path",
    "text.parse_math": False,  # a dollar in a stored name is a dollar
}
Painter = Callable[[Axes], None]
PanelPainter = Callable[[Canvas, Sequence[Axes]], None]


def draw(
    name: str,
    title: str,
    alt: str,
    data: pd.DataFrame,
    painter: Painter,
    sources: tuple[Source, ...],
    *,
    height_inches: float = 3.6,
) -> Figure:
    """One pair of axes, painted when it is asked for; its data as CSV with six significant digits."""

    def paint(_: Canvas, panels: Sequence[Axes]) -> None:
        panels[0].set_title(title, loc="left")
        painter(panels[0])

    return _figure(name, title, alt, data, lambda: _svg(name, title, paint, (1, 1), height_inches), sources)


def draw_panels(
    name: str,
    title: str,
    alt: str,
    data: pd.DataFrame,
    painter: PanelPainter,
    sources: tuple[Source, ...],
    *,
    num_panels: int,
) -> Figure:
    """The same with several pairs of axes, two in a row; the painter is given the canvas for a legend of all."""
    shape = (math.ceil(num_panels / 2), min(num_panels, 2))
    height_inches = PANEL_INCHES * shape[0] + LEGEND_INCHES

    def paint(canvas: Canvas, panels: Sequence[Axes]) -> None:
        for left_over in panels[num_panels:]:
            left_over.set_axis_off()
        painter(canvas, panels[:num_panels])

    return _figure(name, title, alt, data, lambda: _svg(name, title, paint, shape, height_inches), sources)


def draw_pair(
    name: str,
    title: str,
    alt: str,
    data: pd.DataFrame,
    painter: PanelPainter,
    sources: tuple[Source, ...],
    *,
    height_inches: float,
) -> Figure:
    """The same with two pairs of axes side by side, as high as they have to be."""
    return _figure(name, title, alt, data, lambda: _svg(name, title, painter, (1, 2), height_inches), sources)


def _figure(
    name: str, title: str, alt: str, data: pd.DataFrame, svg: Callable[[], bytes], sources: tuple[Source, ...]
) -> Figure:
    csv = str(data.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return Figure(name, title, alt, csv, svg, sources)


def _svg(name: str, title: str, painter: PanelPainter, shape: tuple[int, int], height_inches: float) -> bytes:
    """The drawing; `shape` is rows and columns of panels."""
    settings: Any = {**SETTINGS, "svg.hashsalt": name}
    with mpl.rc_context(settings):
        canvas = Canvas(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        FigureCanvasSVG(canvas)
        panels: Any = canvas.subplots(*shape, squeeze=False)
        painter(canvas, list(panels.flat))
        file = io.BytesIO()
        canvas.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    return file.getvalue()


def plain_log_axis(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers: 0.5, 1, 2, 5, 10; over many decades 0.1, 1, 10 alone."""
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low) if low > 0.0 else 0.0
    subs = (1.0, 2.0, 5.0) if decades < _MANY_DECADES else (1.0,)
    if decades < _FEW_DECADES:
        subs = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=15))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def look(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of a figure's line."""
    return {"color": COLOURS[index], "marker": MARKERS[index], "linestyle": DASHES[index]}
