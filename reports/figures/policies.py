"""Figures of policies: one look for each, what is believed by kind of run, and how good such beliefs are."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from hpt.jump.policy import POLICIES
from hpt_reports.decided import NONE
from hpt_reports.evidence import Source
from hpt_reports.figures.style import COLOURS, DASHES, GREY, MARKERS, draw, draw_panels
from hpt_reports.figures.style import look as numbered
from hpt_reports.formatting import count, plain
from hpt_reports.page import Figure
from hpt_reports.prior import Entry

LOOKS: Mapping[str, Mapping[str, Any]] = {
    name: {"color": COLOURS[colour], "marker": MARKERS[colour], "linestyle": DASHES[dash]}
    for name, colour, dash in zip((*POLICIES, NONE), (3, 4, 5, 1, 6, 2, 7), (1, 0, 1, 0, 1, 0, 3), strict=True)
}
OTHER: Mapping[str, Any] = {"color": COLOURS[0], "marker": MARKERS[0], "linestyle": DASHES[3]}
"""Of a policy that is no longer there."""


def look(policy: str) -> Mapping[str, Any]:
    """Colour, marker and dashes; those of a policy that keeps norms are drawn through."""
    return LOOKS.get(policy, OTHER)


def draw_prior(entries: Sequence[Entry]) -> Figure:
    """Mean and one standard deviation of every policy's worth, by kind of run."""
    policies = list(dict.fromkeys(name for one in entries for name in one.means))
    rows = [(one.name, one.num_runs, name, one.means[name], one.sds[name]) for one in entries for name in one.means]
    data = pd.DataFrame(rows, columns=["entry", "runs", "policy", "mean", "sd"])

    def paint(axes: Axes) -> None:
        for place, name in enumerate(policies):
            shift = (place - 0.5 * (len(policies) - 1)) * 0.72 / len(policies)
            known = [(row + shift, one) for row, one in enumerate(entries) if name in one.means]
            axes.errorbar(
                [one.means[name] for _, one in known],
                [row for row, _ in known],
                xerr=[one.sds[name] for _, one in known],
                label=name,
                color=look(name)["color"],
                marker=look(name)["marker"],
                linestyle="none",
                elinewidth=1.2,
                capsize=2,
            )
        axes.axvline(0.0, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(entries)), [f"{one.name}\n{_behind(one)}" for one in entries])
        axes.set_ylim(len(entries) - 0.4, -0.6)
        axes.set_xlabel("worth, log work ratio (above 0: less work to the same loss)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    said = "; ".join(f"{one.name} ({_behind(one)}): {_best(one)}" for one in entries)
    alt = (
        f"Worth of every policy by kind of run, mean and one standard deviation; a line marks 0, no gain. Best: {said}."
    )
    title = "What is believed of jumps before a run begins"
    return draw("prior", title, alt, data, paint, (), height_inches=0.62 * len(entries) + 1.2)


def draw_beliefs(left_out: str, found: Mapping[str, Any], source: Source) -> Figure:
    """Of beliefs on runs that they have not seen: the share of the gap that choosing by them recovers, and honesty."""
    models = found["models"]
    honest = {name: one["reliability"]["table"] for name, one in models.items() if one["reliability"] is not None}
    rows = [(name, "gap recovered", None, one["gap_recovered"], one["num_runs"]) for name, one in models.items()]
    rows += [
        (name, "reliability", row["mean_probability"], row["frequency"], row["count"])
        for name, table in honest.items()
        for row in table
        if row["count"]
    ]
    data = pd.DataFrame(rows, columns=["model", "what", "x", "value", "count"])

    def paint(_: Canvas, panels: Sequence[Axes]) -> None:
        bars, curves = panels
        places = range(len(models))
        bars.barh(places, [one["gap_recovered"] for one in models.values()], color=COLOURS[1])
        bars.set_yticks(places, list(models))
        bars.invert_yaxis()
        bars.axvline(0.0, color=GREY, linewidth=1)
        bars.set_xlabel("share of the gap recovered")
        bars.set_title(f"Another {left_out}: what it chose", loc="left")
        curves.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="honest")
        for place, name in enumerate(models):
            known = [row for row in honest.get(name, ()) if row["count"]]
            if known:
                x, y = [row["mean_probability"] for row in known], [row["frequency"] for row in known]
                curves.plot(x, y, label=name, **numbered(place))
        curves.set(
            xlabel="probability of worth above 0", ylabel="share that was", xlim=(-0.02, 1.02), ylim=(-0.02, 1.05)
        )
        curves.legend()

    said = "; ".join(f"{name} {one['gap_recovered']:.0%}" for name, one in models.items())
    alt = (
        f"With one {left_out} left out at a time: share of the gap between the best policy for all runs and the best "
        f"of each that is recovered ({said}), and how often a policy was worth something by the probability before."
    )
    title = f"Which belief tells what jumps are worth on another {left_out}?"
    return draw_panels(f"beliefs_{left_out}", title, alt, data, paint, (source,), num_panels=2)


def _behind(one: Entry) -> str:
    """How many runs."""
    return count(one.num_runs, "run") if one.num_runs else "assumed"


def _best(one: Entry) -> str:
    """The policy of the largest mean."""
    name = max(one.means, key=lambda policy: one.means[policy])
    return f"{name} {plain(one.means[name])} ± {plain(one.sds[name])}"
