"""What decided: which policy of jumping the runs of every method played, on what belief, and what is believed before.

Tables and figures are of stored comparisons and training runs that keep their decisions, and of the package's prior.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from hpt_reports.decided import Decided, Story, decided_by, decided_in
from hpt_reports.evidence import Source
from hpt_reports.figures.decided import draw_decided
from hpt_reports.figures.policies import draw_prior
from hpt_reports.formatting import NOT_MEASURED, file_name, harmless, plain, ratio, table
from hpt_reports.kinds import COMPARISON
from hpt_reports.page import Figure, Links, Missing
from hpt_reports.prior import Entry, prior_entries

BROKEN = "broke down"
COLUMNS = ("played at the end", "in runs", "believed beforehand", "worth most at the end, log work ratio", "forks")
ASSUMED = "none, assumed"
"""Runs behind an entry of the prior that nothing was measured for."""


def section(comparisons: Sequence[Source], runs: Sequence[Source], links: Links) -> dict[str, Any]:
    """What the template needs."""
    found = [one for source in comparisons for one in decided_in(source)]
    return {
        "played": table([row for source in comparisons for row in _played_rows(source, links)]),
        "forks": table([row for one in found for row in _fork_rows(one, links)]),
        "figures": [name for name, _ in _by_workload(comparisons)],
        "runs": [_name(one) for one in runs if decided_by(one) is not None],
        "prior": _prior_table(prior_entries(), links),
    }


def figures(comparisons: Sequence[Source], runs: Sequence[Source]) -> list[Figure]:
    """One for each workload of a comparison and each training run that decided something, and the prior's."""
    drawn = [
        draw_decided(name, f"What decided on {found[0].workload}", found) for name, found in _by_workload(comparisons)
    ]
    for run in runs:
        one = decided_by(run)
        if one is not None:
            drawn.append(draw_decided(_name(run), f"What decided in a run of {one.workload}", [one]))
    return [*drawn, draw_prior(prior_entries())]


def missing(comparisons: Sequence[Source]) -> list[Missing]:
    """The command that measures it, where no stored comparison keeps decisions."""
    if any(decided_in(one) for one in comparisons):
        return []
    return [Missing("which policy of jumping was played, and why", COMPARISON.command)]


def _by_workload(comparisons: Sequence[Source]) -> Iterator[tuple[str, list[Decided]]]:
    """Name of the figure, and what it shows."""
    for source in comparisons:
        found = decided_in(source)
        for workload in dict.fromkeys(one.workload for one in found):
            yield f"{_name(source)}_{file_name(workload)}", [one for one in found if one.workload == workload]


def _name(source: Source) -> str:
    return f"decided_{file_name(source.label)}"


def _played_rows(source: Source, links: Links) -> Iterator[dict[str, str]]:
    """Of every method and policy that its runs ended with; none for a comparison of earlier days."""
    decided = {(one.workload, one.arm): one for one in decided_in(source)}
    methods = [
        (workload, name, arm)
        for workload, values in source.document["workloads"].items()
        for name, arm in values["arms"].items()
        if arm["role"] == "method"
    ]
    for workload, name, arm in methods if decided else ():
        head, link = {"workload": harmless(workload), "arm": harmless(name)}, {"source": links.to(source)}
        one = decided.get((workload, name))
        for cells in [_undecided(arm)] if one is None else _decided(one):
            yield {**head, **dict(zip(COLUMNS, cells, strict=True)), **link}


def _undecided(arm: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a method without decisions: it was not measured, or it has nothing to choose."""
    if arm["measures"] is None or "decisions" not in arm:
        return (NOT_MEASURED,) * len(COLUMNS)
    return ("nothing was decided", *("-",) * (len(COLUMNS) - 1))


def _decided(one: Decided) -> Iterator[tuple[str, ...]]:
    """The policy that most runs ended with first, runs without a decision last."""
    counts = Counter(story.last.policy for _, story in one.runs)
    for policy, number in counts.most_common():
        ended = [story for _, story in one.runs if story.last.policy == policy]
        bases = dict.fromkeys(story.last.basis for story in ended)
        forks = Counter(fork.policy for story in ended for fork in story.forks)
        yield (
            harmless(policy),
            f"{number} of {one.num_runs}",
            harmless("; ".join(bases)),
            _worth_most(ended),
            harmless(", ".join(f"{times} of {name}" for name, times in forks.items())) or "none",
        )
    left = one.num_runs - sum(counts.values())
    if left:
        yield ("nothing was decided", f"{left} of {one.num_runs}", *("-",) * (len(COLUMNS) - 2))


def _worth_most(ended: Sequence[Story]) -> str:
    """The policy of the largest mean over runs, and that mean with the mean standard deviation, at their ends."""
    names = dict.fromkeys(name for story in ended for name in story.last.means)
    means = {name: fmean(story.last.means[name] for story in ended if name in story.last.means) for name in names}
    best = max(means, key=lambda name: means[name])
    spread = fmean(story.last.sds[best] for story in ended if best in story.last.sds)
    return f"{harmless(best)} {plain(means[best])} ± {plain(spread)}{_as_ratio(means[best])}"


def _as_ratio(worth: float) -> str:
    """The work ratio that a logarithm stands for, unless it is beyond any."""
    return f", as a ratio {ratio(math.exp(worth))}" if abs(worth) < math.log(1e6) else ""


def _fork_rows(one: Decided, links: Links) -> Iterator[dict[str, str]]:
    for seed, story in sorted(one.runs, key=lambda run: run[0]):
        for fork in story.forks:
            yield {
                "workload": harmless(one.workload),
                "arm": harmless(one.arm),
                "seed": str(seed),
                "at update": str(fork.step),
                "policy": harmless(fork.policy),
                "loss saved a jump": BROKEN if fork.is_broken else plain(fork.value),
                "standard error": "-" if fork.is_broken else plain(fork.value_se),
                "run goes on with it": "yes" if fork.goes_on else "no",
                "source": links.to(one.source),
            }


def _prior_table(entries: Sequence[Entry], links: Links) -> str:
    """A row a kind of run, the worth of every policy in columns."""
    rows = [
        {
            "kind of run": harmless(one.name),
            "runs": str(one.num_runs) if one.num_runs else ASSUMED,
            **{harmless(name): f"{plain(mean)} ± {plain(one.sds[name])}" for name, mean in one.means.items()},
        }
        for one in entries
    ]
    return table(rows, links.prior)
