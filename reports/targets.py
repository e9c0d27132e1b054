"""Targets against what was measured: one judgement each, or "not measured"."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any

from hpt_reports import comparisons, headlines, memory_runs, step_time
from hpt_reports.bounds import BELOW, bounds_of, truth_between
from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import NOT_MEASURED, count, harmless, interval, percent, plain, ratio, ratio_cell, seconds
from hpt_reports.inner_optimizers import beside
from hpt_reports.kind import Kind
from hpt_reports.kinds import COMPARISON, MEMORY, OVERHEAD, PROFILE, TIMING
from hpt_reports.page import INCONCLUSIVE, MISSED, REACHED, VerdictRow
from hpt_reports.timings import by_preset, horizon_line


@dataclass(frozen=True, slots=True)
class TargetValue:
    """What was measured for a target.

    Attributes:
        value: held against the limit.
        text: in words.
        source: the measurement.
        also: a further condition that must hold, e.g. an interval above 1.
        low, high: of the value, 95 %, where the limit must lie outside of them for a verdict.
        is_steady: the measurement can carry a verdict at all.
        others: further measurements it rests on.
    """

    value: float
    text: str
    source: Source
    also: bool = True
    low: float | None = None
    high: float | None = None
    is_steady: bool = True
    others: tuple[Source, ...] = ()


ROUNDING = 1e-9
"""Of a limit, by which a value may miss it: a ratio of equal works is 1 to the last bits."""
LEAST_R_SQUARED = 0.98
"""Below it the medians of a group do not lie on a line, and its slope says nothing."""
Finder = Callable[[Evidence], TargetValue | None]


def _slope(preset: str, evidence: Evidence) -> TargetValue | None:
    timings = by_preset(evidence).get(preset)
    line = None if timings is None else horizon_line(timings)
    if timings is None or line is None:
        return None
    text = f"{seconds(line.slope_s)} (R² = {plain(line.r_squared, 4)})"
    return TargetValue(line.slope_s, text, timings.source, is_steady=line.r_squared >= LEAST_R_SQUARED)


def _median(name: str, evidence: Evidence, *, preset: str = "default") -> TargetValue | None:
    timings = by_preset(evidence).get(preset)
    found = None if timings is None else timings.unit_s(name)
    if timings is None or found is None:
        return None
    value, low, high = found
    text = seconds(value) if low is None else f"{seconds(value)} [{seconds(low)}, {seconds(high)}]"
    return TargetValue(value, text, timings.source, low=low, high=high)


def _full_overhead(evidence: Evidence) -> TargetValue | None:
    source = step_time.full_overhead(evidence)
    if source is None:
        return None
    share, low, high = (float(source.document[name]) - 1.0 for name in ("ratio", "ratio_low", "ratio_high"))
    return TargetValue(share, f"{percent(share)} {interval(100.0 * low, 100.0 * high)}", source, low=low, high=high)


def _own_time(workload: str, evidence: Evidence) -> TargetValue | None:
    found = step_time.own_time(evidence, workload)
    if found is None:
        return None
    value, low, high, source = found
    return TargetValue(value, f"{seconds(value)} [{seconds(low)}, {seconds(high)}]", source, low=low, high=high)


def _covered_step(evidence: Evidence) -> TargetValue | None:
    found = step_time.covered_step(evidence)
    return None if found is None else TargetValue(found[0], percent(found[0]), found[1])


def _memory(
    name: str, device: str, text: Callable[[float], str], held: Callable[[float], float], evidence: Evidence
) -> TargetValue | None:
    """A check of the memory validation; `held` of its number is held against the limit."""
    found = memory_runs.check_value(evidence, name, device)
    if found is None:
        return None
    value, decides, source = found
    return TargetValue(held(value), text(value), source, is_steady=decides)


def _work(workload: str, evidence: Evidence) -> TargetValue | None:
    found = comparisons.default_arm(evidence, workload)
    if found is None:
        return None
    is_enough = found.accelerates or workload in {"cnn", "regression", "mlp"}
    peer, others = headlines.peer_of(evidence, workload)
    value, text = found.work_ratio["value"], f"{ratio_cell(found.work_ratio)}, {peer}"
    low, high = truth_between(value, bounds_of([found.work_ratio]))
    return TargetValue(value, text, found.source, is_enough, low=low, high=high, others=others)


def _on_best(workloads: tuple[str, ...], side: str, kind: str, evidence: Evidence) -> TargetValue | None:
    """The hybrid on the best inner optimizer, over the reference or over that optimizer, mean over workloads."""
    found = headlines.all_on_best(evidence, workloads, side, kind)
    if found is None:
        return None
    places = ", ".join(f"{one.workload} {harmless(one.stored['optimizer'])}" for one in found)
    mean, peers = headlines.mean_over(found, side, kind), headlines.alone_mean(found, kind)
    alone = NOT_MEASURED if peers is None else peers.short
    low, high = truth_between(mean.value, mean.bounds)
    return TargetValue(
        mean.value,
        f"{mean.text}, best being {places}; the best optimizer of each by itself over {headlines.ADAMW} {alone}",
        found[0].source,
        also=side == "over_reference" or (mean.low is not None and mean.low > 1.0),
        low=low,
        high=high,
        others=tuple(one.source for one in found),
    )


def _never_hurts(evidence: Evidence) -> TargetValue | None:
    """The worst pair of workload and inner optimizer; none that hurts is only known once all were measured."""
    found = headlines.pairs(evidence)
    if not found.by_name or (found.lacking and not found.hurting):
        return None
    (workload, optimizer), worst = found.worst
    value = worst.over_own["work_ratio"]["value"]
    any_bounds = bounds_of(one.over_own["work_ratio"] for one in found.by_name.values())
    low, high = truth_between(value, bounds_of([worst.over_own["work_ratio"]]) | (any_bounds & {BELOW}))
    return TargetValue(
        value,
        f"{ratio_cell(worst.over_own['work_ratio'])} on {harmless(workload)} with {harmless(optimizer)}, the worst of "
        f"{count(len(found.by_name), 'pair')} ({beside(worst.source, worst.beside, worst.arm)}); hurting: "
        f"{harmless(', '.join(f'{where} with {on}' for where, on in found.hurting)) or 'none'}",
        worst.source,
        also=not found.hurting,
        low=low,
        high=high,
        others=tuple(one.source for one in found.by_name.values()),
    )


def _pays(evidence: Evidence) -> TargetValue | None:
    """How many pairs gain in work beyond doubt; not known before all were measured."""
    found = headlines.pairs(evidence)
    if found.lacking:
        return None
    (first, *others), above = found.by_name.values(), found.above_one("work_ratio")
    names = ", ".join(f"{where} with {on}" for where, on in above)
    steps = len(found.above_one("steps_ratio"))
    text = f"{len(above)} of {len(found.by_name)} (after equally many updates {steps}): {harmless(names) or 'none'}"
    return TargetValue(len(above), text, first.source, others=tuple(one.source for one in others))


def _known(arm: str, evidence: Evidence) -> TargetValue | None:
    """A calibration: the width of its interval, its distance from the known ratio, or its lead over the controls."""
    found = comparisons.calibration(evidence, arm)
    if found is None:
        return None
    place = f"on {found.finding.workload}"
    if arm == "self":
        value, text = found.half_width, f"{found.text} {place}, +-{percent(found.half_width)}"
    elif found.known is not None:
        value, text = abs(found.finding.work_ratio["value"] / found.known - 1.0), f"{found.text} {place}"
    elif found.over_control is not None:
        value, text = found.over_control, f"{ratio(found.over_control)} {place}"
    else:
        return None
    return TargetValue(value, text, found.finding.source, found.is_found)


def _mb(value: float) -> str:
    return f"{plain(value)} MB a step"


FINDERS: Mapping[str, tuple[Kind, Finder]] = {
    "step_default": (TIMING, partial(_slope, "default")),
    "step_reference": (TIMING, partial(_slope, "reference")),
    "features": (TIMING, partial(_median, "state_encoding/compute_features")),
    "observe": (TIMING, partial(_median, "rssm_training/observe_gradient", preset="reference")),
    "confidence_cached": (TIMING, partial(_median, "confidence/cached")),
    "confidence_uncached": (TIMING, partial(_median, "confidence/uncached")),
    "record_step": (TIMING, partial(_median, "state_history/record_step")),
    "apply": (TIMING, partial(_median, "weight_delta/apply")),
    "full_overhead": (OVERHEAD, _full_overhead),
    "own_time_mlp": (OVERHEAD, partial(_own_time, "mlp")),
    "covered_step": (PROFILE, _covered_step),
    "peak_cuda": (MEMORY, partial(_memory, "peak over plain", "cuda", ratio, float)),
    "peak_host": (MEMORY, partial(_memory, "peak is plain + trajectory + snapshot", "cpu", percent, abs)),
    "growth_host": (MEMORY, partial(_memory, "growth", "cpu", _mb, float)),
    "growth_cuda": (MEMORY, partial(_memory, "growth", "cuda", _mb, float)),
    **{f"work_{name}": (COMPARISON, partial(_work, name)) for name in comparisons.WORKLOADS},
    "best_steps": (COMPARISON, partial(_on_best, headlines.NOISY, "over_reference", "steps_ratio")),
    "best_work": (COMPARISON, partial(_on_best, headlines.ALL, "over_reference", "work_ratio")),
    "best_alone": (COMPARISON, partial(_on_best, headlines.NOISY, "over_own", "work_ratio")),
    "best_alone_steps": (COMPARISON, partial(_on_best, headlines.NOISY, "over_own", "steps_ratio")),
    "never_hurts": (COMPARISON, _never_hurts),
    "pays_on_pairs": (COMPARISON, _pays),
    **{f"calibration_{name}": (COMPARISON, partial(_known, name)) for name in ("self", "planted", "boost-as-method")},
}


@cache
def targets() -> list[dict[str, Any]]:
    """The list of targets as stored."""
    return tomllib.loads((files("hpt_reports") / "targets.toml").read_text(encoding="utf-8"))["targets"]


def verdict_of(target: Mapping[str, Any], evidence: Evidence) -> VerdictRow:
    """One target held against what was measured; inconclusive where the limit lies inside the value's interval."""
    _, find = FINDERS[target["id"]]
    reading = find(evidence)
    if reading is None:
        return VerdictRow(what=target["what"], threshold=target["must"], measured=NOT_MEASURED, word=NOT_MEASURED)
    limit = float(target["limit"])
    distance = reading.value - limit if target.get("at_least") else limit - reading.value
    is_within = distance >= -ROUNDING * abs(limit)
    is_open = reading.low is not None and reading.high is not None and reading.low <= limit < reading.high
    word = REACHED if is_within and reading.also else MISSED
    return VerdictRow(
        what=target["what"],
        threshold=target["must"],
        measured=reading.text,
        word=INCONCLUSIVE if is_open or not reading.is_steady else word,
        sources=(reading.source, *reading.others),
    )


def verdicts(evidence: Evidence, kinds: tuple[Kind, ...] = ()) -> list[VerdictRow]:
    """All targets, or those that rest on some kinds of measurement."""
    return [verdict_of(one, evidence) for one in targets() if not kinds or FINDERS[one["id"]][0] in kinds]
