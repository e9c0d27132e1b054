"""Figures of comparisons: ratios with intervals, loss against work, honesty of the confidence."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from hpt_reports.comparisons import measured_arms
from hpt_reports.evidence import Source
from hpt_reports.figures.style import COLOURS, DASHES, GREY, MARKERS, draw, look, plain_log_axis
from hpt_reports.formatting import bounded, file_name, plain
from hpt_reports.inner_optimizers import beside, beside_overall
from hpt_reports.page import Figure
from hpt_reports.tuning import BASELINES, Standing, of_arm, of_baseline, of_overall

ROLES = {"method": 1, "control": 2, "peer": 3, "ablation": 4, "calibration": 7}
"""Colour and marker by role."""
MIXED = "baseline, tuned except where marked"
SHORT = {Standing.OPEN: "bracket open", Standing.UNTUNED: "not tuned"}


def draw_ratios(source: Source, tag: str) -> Figure | None:
    """Work ratio of every arm on every workload, with its 95 % interval; None if there is none to draw."""
    workloads = source.document["workloads"]
    base = _baseline_name(source)
    rows = [
        (f"{workload}: {name}{_mark(found, name, base)}", arm["role"], arm["measures"]["work_ratio"])
        for workload, found in workloads.items()
        for name, arm in measured_arms(found).items()
    ]
    rows += [
        (f"all workloads: {name}{_least(workloads, name, base)}", arm["role"], arm["work_ratio"])
        for name, arm in source.document["overall"].items()
    ]
    tried = [beside(source, found, name) for found in workloads.values() for name in measured_arms(found)]
    tried += [beside_overall(source, name) for name in source.document["overall"]]
    others = dict(zip((name for name, _, _ in rows), tried, strict=True))
    lost = [name for name, _, found in rows if not found["value"]]
    rows = [row for row in rows if row[2]["value"]]
    if not rows:
        return None
    data = pd.DataFrame(
        [(name, role, found["value"], found["low"], found["high"]) for name, role, found in rows],
        columns=["arm", "role", "work_ratio", "low", "high"],
    )

    def paint(axes: Axes) -> None:
        shown: set[str] = set()
        for place, (_, role, found) in enumerate(rows):
            index = ROLES.get(role, 0)
            label = "" if role in shown else role
            shown.add(role)
            axes.plot(found["value"], place, MARKERS[index], color=COLOURS[index], label=label)
            if found["low"] is not None and found["high"] is not None:
                axes.plot([found["low"], found["high"]], [place, place], color=COLOURS[index], linewidth=1.2)
        axes.axvline(1.0, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel(
            f"full-step equivalents to the same loss,\n{base}, over the arm's\n(above 1: the arm needs less)"
        )
        axes.legend()

    best = max(rows, key=lambda row: row[2]["value"])
    unseen = f" Not drawn, because a run diverged: {', '.join(lost)}." if lost else ""
    alt = (
        f"Work ratios to the {base}, with 95 % intervals, {len(rows)} in all; a line marks 1, no difference. "
        f"Largest: {best[0]} at {bounded(best[2])} ({others[best[0]]}).{unseen}"
    )
    return draw(
        f"ratios_{tag}", f"Work ratio to the {base}", alt, data, paint, (source,), height_inches=0.24 * len(rows) + 1.6
    )


def _baseline_name(source: Source) -> str:
    """What all its measured baselines may be called; where they differ, the rows say it."""
    found = {of_baseline(one) for one in source.document["workloads"].values() if one["baseline"] is not None}
    return BASELINES[found.pop()] if len(found) == 1 else MIXED


def _mark(workload: Mapping[str, Any], arm: str, base: str) -> str:
    """What a row lacks and the figure's title does not say already."""
    own, other = of_arm(workload, arm), of_baseline(workload)
    words = [SHORT[other]] if base == MIXED and other is not Standing.CLOSED else []
    if own not in (other, Standing.CLOSED):
        words.append(f"arm {SHORT[own]}")
    return f" ({', '.join(words)})" if words else ""


def _least(workloads: Mapping[str, Mapping[str, Any]], arm: str, base: str) -> str:
    found = of_overall(workloads, arm)
    return "" if found is Standing.CLOSED or base == BASELINES[found] else f" ({SHORT[found]})"


def draw_losses(source: Source, workload: str, tag: str) -> Figure | None:
    """Training loss against work, mean and range over seeds; None without curves."""
    found = source.document["workloads"][workload]
    curves: dict[str, list[list[float]]] = {BASELINES[of_baseline(found)]: found["baseline_curve"]}
    curves |= {
        name: arm["curve"]
        for name, arm in measured_arms(found).items()
        if arm["role"] != "calibration" and not arm["measures"]["num_diverged"]
    }
    curves = {name: rows for name, rows in list(curves.items())[: len(COLOURS)] if rows}
    if not curves:
        return None
    rows = [(name, *row) for name, points in curves.items() for row in points]
    data = pd.DataFrame(rows, columns=["arm", "full_step_equivalents", "mean_loss", "lowest", "highest"])

    def paint(axes: Axes) -> None:
        for index, (name, points) in enumerate(curves.items()):
            work, mean, low, high = zip(*points, strict=True)
            axes.plot(work, mean, label=name, color=COLOURS[index], linestyle=DASHES[index], linewidth=1.2)
            axes.fill_between(work, low, high, color=COLOURS[index], alpha=0.12, linewidth=0)
        axes.set(xlabel="full-step equivalents", ylabel="training loss (band: range over seeds)", yscale="log")
        plain_log_axis(axes.yaxis)
        axes.legend(ncols=2)

    last = ", ".join(f"{name} {plain(points[-1][1], 4)}" for name, points in curves.items())
    alt = f"Training loss on {workload} against work, logarithmic loss. At the end: {last}."
    name = f"loss_{file_name(workload)}_{tag}"
    return draw(name, f"Training loss against work, {workload}", alt, data, paint, (source,))


def draw_reliability(source: Source, tag: str) -> Figure | None:
    """Confidence against what became of the jumps; None where no arm has one."""
    tables: dict[str, list[Mapping[str, Any]]] = {
        f"{workload}: {name}": arm["reliability"]
        for workload, found in source.document["workloads"].items()
        for name, arm in measured_arms(found).items()
        if arm["reliability"]
    }
    tables = dict(list(tables.items())[: len(COLOURS)])
    if not tables:
        return None
    rows = [
        (name, row["mean_confidence"], row["good_frac"], row["count"])
        for name, found in tables.items()
        for row in found
    ]
    data = pd.DataFrame(rows, columns=["arm", "mean_confidence", "good_frac", "count"])

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="honest")
        for index, (name, found) in enumerate(tables.items()):
            x, y = [row["mean_confidence"] for row in found], [row["good_frac"] for row in found]
            axes.plot(x, y, label=name, **look(index))
        axes.set(
            xlabel="confidence before the jump",
            ylabel="share of jumps that were good",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.05),
        )
        axes.legend()

    alt = "Share of jumps that were good against the confidence before them; the diagonal is an honest confidence."
    return draw(f"reliability_{tag}", "Is the confidence honest?", alt, data, paint, (source,))
