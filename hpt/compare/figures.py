"""Figures of a summary: loss against work with a band over seeds, ratios as a forest plot, reliability of confidence.

They are drawn from `summary.json` alone, without a display, and carry no date, so equal summaries give equal files.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hpt.jsonfiles import disk_errors
from hpt.run.ownership import Manifest

SIZE_INCHES = (7.0, 4.2)
DPI = 120


def draw_all(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every figure for which there are numbers, in place of earlier ones of ours; returns their files.

    Raises:
        UsageError: a file of somebody else's is in the way.
        DiskError: they cannot be written.
    """
    painters: dict[str, Callable[[Path], Path]] = {
        f"loss-{_file(name)}.png": partial(
            _draw, partial(_losses, values=values), title=f"{name}: training loss against work"
        )
        for name, values in summary["workloads"].items()
        if values["baseline_curve"]
    }
    rows = _forest_rows(summary)
    if rows:
        painters["ratios.png"] = partial(
            _draw,
            partial(_forest, rows=rows),
            title="work ratio to the baseline, 95 %",
            height_inches=max(SIZE_INCHES[1], 0.22 * len(rows) + 1.0),
        )
    tables = _reliability_rows(summary)
    if tables:
        painters["reliability.png"] = partial(
            _draw, partial(_reliability, tables=tables), title="is the confidence honest?"
        )
    manifest = Manifest(folder, "figures")
    manifest.add(painters)
    with disk_errors(folder):
        made = [paint(folder / name) for name, paint in painters.items()]
    manifest.keep_only(painters)
    return made


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def _draw(painter: Callable[[Axes], None], path: Path, title: str, height_inches: float = SIZE_INCHES[1]) -> Path:
    figure = Figure(figsize=(SIZE_INCHES[0], height_inches), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    painter(axes)
    axes.set_title(title)
    figure.savefig(path, metadata={"Software": None})
    return path


def _losses(axes: Axes, values: Mapping[str, Any]) -> None:
    curves = {"baseline": values["baseline_curve"]}
    curves |= {name: arm["curve"] for name, arm in values["arms"].items() if arm["role"] != "calibration"}
    for name, rows in curves.items():
        if rows:
            work, mean, low, high = zip(*rows, strict=True)
            (line,) = axes.plot(work, mean, label=name, linewidth=1.2)
            axes.fill_between(work, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("full-step equivalents")
    axes.set_ylabel("training loss, mean and range over seeds")
    axes.set_yscale("log")
    axes.legend(fontsize=7)


def _forest_rows(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows = [
        (f"{workload}: {name}", arm["measures"]["work_ratio"])
        for workload, values in summary["workloads"].items()
        for name, arm in values["arms"].items()
        if arm["measures"] is not None
    ]
    return rows + [(f"all: {name}", values["work_ratio"]) for name, values in summary["overall"].items()]


def _forest(axes: Axes, rows: list[tuple[str, Mapping[str, Any]]]) -> None:
    for place, (_, ratio) in enumerate(rows):
        axes.plot(ratio["value"], -place, "s", color="black", markersize=4)
        if ratio["low"] is not None and ratio["high"] is not None:
            axes.plot([ratio["low"], ratio["high"]], [-place, -place], color="black", linewidth=1)
    axes.axvline(1.0, color="grey", linewidth=0.8, linestyle="--")
    axes.set_yticks([-place for place in range(len(rows))], [name for name, _ in rows], fontsize=7)
    axes.set_xlabel("baseline's work to the same loss over the arm's (above 1: the arm is faster)")


def _reliability_rows(summary: Mapping[str, Any]) -> dict[str, list[Mapping[str, float]]]:
    return {
        f"{workload}: {name}": arm["reliability"]
        for workload, values in summary["workloads"].items()
        for name, arm in values["arms"].items()
        if arm["reliability"]
    }


def _reliability(axes: Axes, tables: Mapping[str, list[Mapping[str, float]]]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for name, rows in tables.items():
        x, y = [row["mean_confidence"] for row in rows], [row["good_frac"] for row in rows]
        axes.plot(x, y, "o-", label=name, markersize=4, linewidth=1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share of jumps that were good")
    axes.legend(fontsize=7)
