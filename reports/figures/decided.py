"""The figure of what decided: beliefs over the progress of runs, with their forks and what was played."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hpt_reports.decided import NONE, Decided, Decision, Story
from hpt_reports.figures.policies import look
from hpt_reports.figures.style import GREY, draw_panels
from hpt_reports.formatting import count, plain
from hpt_reports.page import Figure

COLUMNS = (
    *("workload", "arm", "seeds", "what", "update", "progress", "played", "policy"),
    *("mean", "sd", "loss_saved_a_jump", "standard_error", "goes_on"),
)
STRIP_FRAC = 0.05
"""Height of the strip that shows what is played, in panels."""
BROKEN_FRAC = 0.2
"""Height at which forks without a number are marked, above the policies' names."""
LEAST_LABEL_FRAC = 0.16
"""Of the run, below which a stretch of the strip is too short for its policy's name."""
MANY_SEEDS = 4
Panel = tuple[Decided, Story]


def draw_decided(name: str, title: str, found: Sequence[Decided]) -> Figure:
    """Belief about every policy over the progress of runs, a panel for each arm and story, all of one workload."""
    panels = [(one, story) for one in found for story in one.stories]
    low, high = _limits([story for _, story in panels])
    scale = _fork_scale([story for _, story in panels], low, high)
    data = pd.DataFrame([row for panel in panels for row in _rows(*panel)], columns=list(COLUMNS))

    def paint(canvas: Canvas, axes: Sequence[Axes]) -> None:
        for place, (panel, (one, story)) in enumerate(zip(axes, panels, strict=True)):
            panel.set_title(f"{one.arm}, {_seeds(story)}", loc="left", fontsize=9)
            panel.set(xlim=(0.0, 1.0), ylim=(low, high), xlabel="progress")
            if place % 2 == 0:
                panel.set_ylabel("worth, log work ratio")
            panel.axhline(0.0, color=GREY, linewidth=0.8)
            _paint_beliefs(panel, one, story)
            _paint_played(panel, one, story)
            if story.forks:
                _paint_forks(panel, one, story, scale)
        handles = _handles([story for _, story in panels])
        canvas.legend(handles=handles, loc="outside lower center", ncols=2)

    alt = (
        "What each policy was believed to be worth as the log work ratio of a whole window, mean and a band of one "
        "standard deviation, over progress; forks as loss saved a jump with standard errors, axis on the right; the "
        f"strip at the bottom is what was played. {_in_words(panels)}"
    )
    sources = tuple(dict.fromkeys(one.source for one in found))
    return draw_panels(name, title, alt, data, paint, sources, num_panels=len(panels))


def _stretches(one: Decided, story: Story) -> Iterator[tuple[Decision, float, float]]:
    """Every decision, and the progress from which and up to which it holds."""
    ends = [*(decision.step for decision in story.decisions[1:]), one.num_updates]
    for decision, end in zip(story.decisions, ends, strict=True):
        yield decision, decision.step / one.num_updates, max(decision.step, end) / one.num_updates


def _paint_beliefs(axes: Axes, one: Decided, story: Story) -> None:
    stretches = list(_stretches(one, story))
    edges = [*(start for _, start, _ in stretches), stretches[-1][2]]
    for policy in _policies([story]):
        known = [
            (decision.means.get(policy, math.nan), decision.sds.get(policy, math.nan)) for decision, *_ in stretches
        ]
        means, sds = zip(*known, known[-1], strict=True)
        drawn = look(policy)
        axes.step(edges, means, where="post", color=drawn["color"], linestyle=drawn["linestyle"], linewidth=1.4)
        lows, highs = ([mean + sign * sd for mean, sd in zip(means, sds, strict=True)] for sign in (-1.0, 1.0))
        axes.fill_between(edges, lows, highs, step="post", color=drawn["color"], alpha=0.12, linewidth=0)


def _paint_played(axes: Axes, one: Decided, story: Story) -> None:
    """A strip along the bottom, with the policy's name where there is room."""
    across = axes.get_xaxis_transform()
    for policy, alike in groupby(_stretches(one, story), key=lambda stretch: stretch[0].policy):
        stretches = list(alike)
        start, end = stretches[0][1], stretches[-1][2]
        axes.fill_between(
            [start, end], 0.0, STRIP_FRAC, color=look(policy)["color"], transform=across, linewidth=0, zorder=4
        )
        if end - start >= LEAST_LABEL_FRAC:
            axes.text(start, STRIP_FRAC + 0.015, f" {policy}", transform=across, fontsize=7, va="bottom")


def _paint_forks(axes: Axes, one: Decided, story: Story, scale: float) -> None:
    """Values on an axis of their own at the right, whose zero is the panel's."""
    right = axes.twinx()
    low, high = axes.get_ylim()
    right.set_ylim(low * scale, high * scale)
    right.grid(visible=False)
    right.spines["right"].set_visible(True)
    right.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for fork in story.forks:
        drawn = look(fork.policy)
        at = fork.step / one.num_updates
        if fork.is_broken:
            right.plot(at, BROKEN_FRAC, "x", color=drawn["color"], transform=right.get_xaxis_transform(), zorder=6)
            continue
        fill = drawn["color"] if fork.goes_on else "white"
        right.errorbar(
            at, fork.value, fork.value_se, color=drawn["color"], marker=drawn["marker"], mfc=fill, capsize=2.5, zorder=6
        )


def _limits(stories: Sequence[Story]) -> tuple[float, float]:
    """One range of worth for all panels: every band, zero, and room for the strip."""
    ends = [
        mean + sign * decision.sds[policy]
        for story in stories
        for decision in story.decisions
        for policy, mean in decision.means.items()
        for sign in (-1.0, 1.0)
    ]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = (high - low) or 1.0
    return low - 0.25 * room, high + 0.1 * room


def _fork_scale(stories: Sequence[Story], low: float, high: float) -> float:
    """Loss a jump by unit of worth: the least with which all forks lie in the panels."""
    ends = [
        fork.value + sign * fork.value_se
        for story in stories
        for fork in story.forks
        if not fork.is_broken
        for sign in (-1.0, 1.0)
    ]
    scales = [end / (0.9 * high if end > 0.0 else 0.6 * low) for end in ends if end]
    return max(scales, default=1.0)


def _policies(stories: Sequence[Story]) -> list[str]:
    """All that something was believed of."""
    return list(dict.fromkeys(name for story in stories for one in story.decisions for name in one.means))


def _handles(stories: Sequence[Story]) -> list[Line2D | Patch]:
    """Of the legend: policies, what the strip shows besides, and forks if there are any."""
    handles: list[Line2D | Patch] = [Line2D([], [], label=name, **look(name)) for name in _policies(stories)]
    if any(one.policy == NONE for story in stories for one in story.decisions):
        handles.append(Patch(color=look(NONE)["color"], label="strip: none, no jumps"))
    forks = [fork for story in stories for fork in story.forks]
    if any(not fork.is_broken for fork in forks):
        for goes_on, words in ((True, "goes on"), (False, "does not go on")):
            if any(fork.goes_on is goes_on and not fork.is_broken for fork in forks):
                fill = GREY if goes_on else "white"
                label = f"fork, {words}: loss saved a jump, right axis"
                handles.append(Line2D([], [], color=GREY, marker="o", mfc=fill, linestyle="none", label=label))
    if any(fork.is_broken for fork in forks):
        handles.append(Line2D([], [], color=GREY, marker="x", linestyle="none", label="fork, broke down"))
    return handles


def _seeds(story: Story) -> str:
    if len(story.seeds) > MANY_SEEDS:
        return f"{len(story.seeds)} seeds"
    return f"seed{'s' * (len(story.seeds) > 1)} {', '.join(map(str, story.seeds))}"


def _rows(one: Decided, story: Story) -> Iterator[tuple[Any, ...]]:
    """Of the data: a row for each policy of each decision, and one for each fork."""
    head = (one.workload, one.arm, " ".join(map(str, story.seeds)))
    for decision in story.decisions:
        at = (decision.step, decision.step / one.num_updates, decision.policy)
        for policy, mean in decision.means.items():
            yield (*head, "belief", *at, policy, mean, decision.sds[policy], None, None, None)
    for fork in story.forks:
        at = (fork.step, fork.step / one.num_updates, None)
        yield (*head, "fork", *at, fork.policy, None, None, fork.value, fork.value_se, fork.goes_on)


def _in_words(panels: Sequence[Panel]) -> str:
    """What each run ended with, for who cannot see the figure."""
    return f"At the end: {'; '.join(f'{one.arm}, {_seeds(story)}, {_ending(story)}' for one, story in panels)}."


def _ending(story: Story) -> str:
    """The last policy, what it was believed to be worth, and the number of forks before."""
    last = story.last
    worth = (
        f" at {plain(last.means[last.policy])} ± {plain(last.sds[last.policy])}" if last.policy in last.means else ""
    )
    return f"{last.policy}{worth} after {count(len(story.forks), 'fork')}"
