"""The newest benchmarks against those before them, scenario by scenario, judged as `hpt bench compare` does."""

from functools import cache

from hpt.bench.comparison import BenchComparison, compare
from hpt.bench.measurement import measurement_of
from hpt.errors import NothingMeasured
from reports.evidence import Evidence, Source
from reports.kinds import TIMING
from reports.markdown_text import code, harmless, table
from reports.numbers import plain, ratio, seconds
from reports.view import Links


def before(evidence: Evidence, newest: Source) -> Source | None:
    """The run before the newest one of the same preset; None if there is none."""
    preset = newest.document["facts"].get("hpt_preset")
    others = [one for one in evidence.of(TIMING) if one.document["facts"].get("hpt_preset") == preset]
    return next((one for one in others if one is not newest), None)


def section(old: Source, new: Source, links: Links) -> str:
    """A table of ratios with verdicts, or why there is none."""
    try:
        found = _compared(old, new)
    except NothingMeasured as error:
        return f"Not comparable with {links.to(old)}: {harmless(error)} ({links.to(new)})."
    both = links.every([old, new])
    rows = [
        [
            code(row.name),
            seconds(row.old_s),
            seconds(row.new_s),
            f"{ratio(row.ratio)} {_ends(row.low, row.high)}",
            f"**{harmless(row.verdict)}**",
            both,
        ]
        for row in found.rows
    ]
    return table(["scenario", "before", "now", "now over before", "verdict", "source"], rows)


def _ends(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"[{plain(low)}, {plain(high)}]"


@cache
def _compared(old: Source, new: Source) -> BenchComparison:
    sides = (
        {one.get_name(): measurement_of(one) for one in side.document["suite"].get_benchmarks()} for side in (old, new)
    )
    return compare(*sides)
