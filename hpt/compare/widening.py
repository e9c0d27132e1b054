"""Measures of a comparison that looked after every seed: intervals and p-values that hold at every look.

Only Student's interval is widened (`alpha_spending`); the bootstrap's stays, and claims need the wider of both. The
p-value is the smallest of .05, .05 / 2, .05 / 3, ... at which the widened interval still excludes the null value: what
Holm's correction over up to `MOST_WORKLOADS` workloads asks for, and otherwise too large rather than too small.
"""

import math
from dataclasses import replace

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.measures import Measures
from hpt.compare.ratios import Ratio, log_of
from hpt.compare.stopping import LookInterval, look

MOST_WORKLOADS = 12


def widened(measures: Measures, looks: Looks) -> Measures:
    """The same measures, their work and steps ratios with intervals for `looks`."""
    return replace(
        measures,
        work_ratio=widened_ratio(measures.work_ratio, looks),
        steps_ratio=widened_ratio(measures.steps_ratio, looks),
    )


def widened_ratio(ratio: Ratio, looks: Looks) -> Ratio:
    """One ratio; before the first look it has no interval at all."""
    logs = [log_of(one) for one in ratio.by_seed]
    if not all(map(math.isfinite, logs)):
        return ratio
    if len(logs) < FIRST_LOOK:
        return replace(ratio, estimate=replace(ratio.estimate, t_low=None, t_high=None, p=None))
    found = _at(logs, looks)
    ends = {"t_low": found.low, "t_high": found.high, "p": _p_value(logs, looks)}
    return replace(ratio, estimate=replace(ratio.estimate, **ends))


def _p_value(logs: list[float], looks: Looks) -> float:
    """Found level by level from the largest; 1 where not even that one excludes the null value."""
    p = 1.0
    for count in range(1, MOST_WORKLOADS + 1):
        level = looks.alpha / count
        if not _at(logs, replace(looks, alpha=level)).excludes(0.0):
            break
        p = level
    # just below the level, for a test that asks for less than it
    return p if p == 1.0 else math.nextafter(p, 0.0)


def _at(logs: list[float], looks: Looks) -> LookInterval:
    found = look(logs, looks)
    assert found is not None, "finite, and at the first look or later"
    return found
