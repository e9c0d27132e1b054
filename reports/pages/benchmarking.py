"""PHASE_2_BENCHMARKING_REPORT: what the parts cost, beside the original, and where a step's time goes."""

from collections.abc import Sequence

import pandas as pd

from hpt.errors import NothingMeasured
from hpt_reports import step_time
from hpt_reports.claims import claims, original
from hpt_reports.evidence import Evidence, Source
from hpt_reports.figures.benchmarks import draw_horizons, draw_parts, draw_spread
from hpt_reports.formatting import NOT_MEASURED, code, count, harmless, interval, percent, plain, ratio, seconds, table
from hpt_reports.kinds import ALARMS, OVERHEAD, PROFILE, TIMING, TRAINING
from hpt_reports.page import Figure, Links, Missing, Page, absent, counted
from hpt_reports.step_time import covered_step
from hpt_reports.targets import verdicts
from hpt_reports.timings import (
    CONTROL,
    LOW_VARIANCE_FRAC,
    SCENARIOS,
    FittedLine,
    Timings,
    before,
    by_preset,
    compared,
    horizon_line,
    steady_share,
)

NAME = "PHASE_2_BENCHMARKING_REPORT"
KINDS = (TIMING, OVERHEAD, PROFILE)
REFERENCE = "reference"
WITHOUT_MODEL = frozenset({"state_encoding", "weight_delta", "state_history"})
"""Groups that take equally long whatever the model's size."""


def build(evidence: Evidence, links: Links) -> Page:
    """The report's content."""
    runs = by_preset(evidence)
    profiles = step_time.by_workload(evidence.of(PROFILE))
    overheads = [*step_time.overheads_on_cpus(evidence), *step_time.overheads_on_gpus(evidence)]
    overhead = next(iter(overheads), None)
    run, alarms = step_time.timed_run(evidence), evidence.newest(ALARMS)
    found = [*overheads, *(one for one in (run, alarms) if one is not None)]
    judged = verdicts(evidence, KINDS)
    figures = [*_figures(runs), *(draw_parts(one) for one in profiles)]
    return Page(
        name=NAME,
        title="Phase 2: benchmarking report",
        question="What do the parts cost, and where does a step's time go?",
        summary=_summary(runs, overhead, evidence, links, counted(judged)),
        verdicts=judged,
        reads=(TIMING, OVERHEAD, PROFILE, TRAINING, ALARMS),
        sources=[*(one.source for one in runs.values()), *profiles, *found],
        missing=_missing(runs, profiles, overhead, run),
        figures={one.name: one for one in figures},
        opening="horizons",
        values={
            "presets": [_preset(name, one, links) for name, one in runs.items()],
            "changes": _changes(evidence, runs, links),
            "claims": _claim_table(runs, links),
            "claim_list": claims(NAME),
            "original": original(),
            "confidence": _confidence(runs, links),
            "overhead": "\n\n".join(step_time.overhead(one, links) for one in overheads),
            "run": None if run is None else step_time.run_times(run, links),
            "alarms": None if alarms is None else _alarms(alarms, links),
            "profiles": [step_time.profile(one, links, evidence) for one in profiles],
        },
    )


def _alarms(source: Source, links: Links) -> str:
    """How often the comparison cried wolf, and how often it saw one."""
    same, slow = source.document["same_code"], source.document["planted"]
    return (
        f"Of {same['num_comparisons']} comparisons of separate runs of the same code, "
        f"{same['num_with_alarm']} raised an alarm; of {slow['num_scenarios']} scenarios slowed by "
        f"{percent(float(slow['slowdown_frac']))} on purpose, {slow['num_caught']} were called regressed "
        f"({links.to(source)})."
    )


def _figures(runs: dict[str, Timings]) -> list[Figure]:
    drawn = [draw_spread(one) for one in runs.values()]
    with_lines = [one for one in runs.values() if horizon_line(one) is not None]
    return [*([draw_horizons(with_lines)] if with_lines else []), *drawn]


def _summary(
    runs: dict[str, Timings], overhead: Source | None, evidence: Evidence, links: Links, tally: str
) -> list[str]:
    lines = [f"Targets: {tally} ({links.target})."]
    for preset in ("default", "reference"):
        timings = runs.get(preset)
        line = None if timings is None else horizon_line(timings)
        if timings is None or line is None:
            lines.append(f"A predicted step, `{preset}` preset: {NOT_MEASURED}.")
            continue
        gain = original()["per_step_measured_s"] / line.slope_s
        also = f", {plain(gain)} times less than the original's code takes ({links.claim})"
        lines.append(
            f"A predicted step, `{preset}` preset: {seconds(line.slope_s)}{also if preset == REFERENCE else ''} "
            f"({links.to(timings.source)})."
        )
    if overhead is None:
        lines.append(f"Overhead of the trainer in a full step: {NOT_MEASURED}.")
    else:
        low, high = (100.0 * (float(overhead.document[name]) - 1.0) for name in ("ratio_low", "ratio_high"))
        lines.append(
            f"Overhead of the trainer in a full step of {harmless(overhead.document['workload'])}: "
            f"{percent(float(overhead.document['ratio']) - 1.0)}, 95 % interval "
            f"{interval(low, high)} ({links.to(overhead)})."
        )
    covered = covered_step(evidence)
    lines.append(
        f"A step that a jump covers, against a full step: {NOT_MEASURED}."
        if covered is None
        else f"A step that a jump covers costs {percent(covered[0])} of a full step, jump and probes included; "
        f"whether it is worth one is another question, see {links.page('EVALUATION_REPORT', 'the evaluation')} "
        f"({links.to(covered[1])})."
    )
    return lines


def _preset(preset: str, timings: Timings, links: Links) -> dict[str, object]:
    source = timings.source
    line = horizon_line(timings)
    below, total = steady_share(timings)
    facts = source.document["facts"]
    control = timings.median_s(CONTROL)
    return {
        "name": preset,
        "table": _scenario_table(timings, links),
        "line": None if line is None else _line_text(line, timings, links),
        "variance": (
            f"{below} of {total} scenarios vary by less than {plain(100 * LOW_VARIANCE_FRAC, 1)} % "
            f"(standard deviation over mean), as the original states of all of its own "
            f"({links.to(source)}, {links.claim})."
        ),
        "mode": f"Mode {harmless(facts.get('hpt_mode', 'not stored'))}, "
        f"{count(int(facts.get('hpt_threads', 1)), 'thread')} "
        f"({links.to(source)}).",
        "control": None
        if control is None
        else f"A round of the control takes {seconds(control)} ({links.to(source)}).",
        "spread": f"spread_{preset}",
    }


def _changes(evidence: Evidence, runs: dict[str, Timings], links: Links) -> list[dict[str, str]]:
    """Against the run before, for presets that were measured more than once."""
    pairs = ((name, one.source, before(evidence, one.source)) for name, one in runs.items())
    return [
        {"name": name, "table": _change_table(old, new, links), "link": links.every([old, new])}
        for name, new, old in pairs
        if old is not None
    ]


def _change_table(old: Source, new: Source, links: Links) -> str:
    """Ratios with verdicts, or why there are none."""
    try:
        found = compared(old, new)
    except NothingMeasured as error:
        return f"Not comparable with {links.to(old)}: {harmless(error)} ({links.to(new)})."
    rows = [
        {
            "scenario": code(row.name),
            "before": seconds(row.old_s),
            "now": seconds(row.new_s),
            "now over before": f"{ratio(row.ratio)} {interval(row.low, row.high)}",
            "verdict": f"**{harmless(row.verdict)}**",
        }
        for row in found.rows
    ]
    return table(rows, links.every([old, new]))


def _scenario_table(timings: Timings, links: Links) -> str:
    names = [*SCENARIOS, *(str(name) for name in timings.rows.index if name not in {*SCENARIOS, CONTROL})]
    return table([_scenario_row(name, timings) for name in names], links.to(timings.source))


def _scenario_row(name: str, timings: Timings) -> dict[str, str]:
    names = ("median", "95 % interval", "mean", "std", "5th to 95th percentile", "values in processes", "outliers")
    if name not in timings.rows.index:
        return {"scenario": code(name)} | dict.fromkeys((*names, "variation", "unit cost"), NOT_MEASURED)
    row = timings.rows.loc[name]
    has_ends, has_spread = pd.notna(row["low_s"]), pd.notna(row["std_s"])
    cells = (
        seconds(float(row["median_s"])),
        f"{seconds(row['low_s'])} to {seconds(row['high_s'])}" if has_ends else "no interval",
        seconds(float(row["mean_s"])),
        seconds(float(row["std_s"])) if has_spread else "-",
        f"{seconds(float(row['p5_s']))} to {seconds(float(row['p95_s']))}",
        f"{row['num_values']} in {row['num_processes']}",
        str(row["num_outliers"]),
    )
    return {
        "scenario": code(name),
        **dict(zip(names, cells, strict=True)),
        "variation": percent(float(row["cv_frac"])) if has_spread else "-",
        "unit cost": f"{seconds(float(row['median_s']) / int(row['num_units']))} per {harmless(row['unit'])}",
    }


def _line_text(line: FittedLine, timings: Timings, links: Links) -> str:
    source = links.to(timings.source)
    macs = timings.rows["macs"].dropna()
    work = f"; {plain(float(macs.iloc[0]) / 1e3)} thousand multiply-adds a predicted step" if len(macs) else ""
    return (
        f"One more predicted step costs {seconds(line.slope_s)} (least squares through the medians, R² = "
        f"{plain(line.r_squared, 4)}), a call without steps {seconds(line.intercept_s)}{work} ({source})."
    )


def _claim_table(runs: dict[str, Timings], links: Links) -> str:
    """Claimed, measured for the original, measured here at the same dimensions, and the ratio."""
    timings = runs.get(REFERENCE) or runs.get("default")
    known, rows = original()["benchmarks"], list[dict[str, str]]()
    for name in SCENARIOS:
        here = None if timings is None or not _has_same_dimensions(name, timings) else timings.median_s(name)
        facts = known.get(name, {})
        claimed = seconds(facts["claimed_s"]) if "claimed_s" in facts else "no claim"
        rows.append(_claim_row(code(name), claimed, facts.get("measured_s"), here, facts.get("note", "")))
    line = None if timings is None or timings.preset != REFERENCE else horizon_line(timings)
    claimed, there = seconds(original()["per_step_claimed_s"]), float(original()["per_step_measured_s"])
    rows.append(_claim_row("a predicted step (slope)", claimed, there, None if line is None else line.slope_s, ""))
    return table(rows, links.claim if timings is None else f"{links.claim}, {links.to(timings.source)}")


def _claim_row(name: str, claimed: str, there: float | None, here: float | None, note: str) -> dict[str, str]:
    return {
        "scenario": name,
        "claimed by the original": claimed,
        "measured for the original": "not there" if there is None else seconds(there),
        "measured here": seconds(here),
        "original over here": "-" if here is None or there is None else ratio(there / here),
        "note": harmless(note),
    }


def _has_same_dimensions(name: str, timings: Timings) -> bool:
    """The original's model and ours are of one size, or the scenario has no model in it."""
    return timings.preset == REFERENCE or name.partition("/")[0] in WITHOUT_MODEL


def _confidence(runs: dict[str, Timings], links: Links) -> str:
    rows = [
        {
            "preset": preset,
            "cached": seconds(one.median_s("confidence/cached")),
            "computed": seconds(one.median_s("confidence/uncached")),
            "source": links.to(one.source),
        }
        for preset, one in runs.items()
    ]
    return table(rows)


def _missing(
    runs: dict[str, Timings], profiles: Sequence[Source], overhead: Source | None, run: Source | None
) -> list[Missing]:
    lacking = [
        Missing(
            f"benchmarks with the {preset} preset",
            f"hpt bench all --rigorous --preset {preset} --threads 1 --out runs/bench-{preset}",
        )
        for preset in ("default", "reference")
        if preset not in runs
    ]
    lacking += [absent(kind) for kind, one in ((OVERHEAD, overhead), (TRAINING, run)) if one is None]
    if not profiles:
        lacking.append(absent(PROFILE, "the speed-up model against a measurement"))
    lacking.append(
        Missing("the same on a GPU", "hpt profile --workload gpt2 --device cuda --out runs/profile-cuda.json")
    )
    return lacking
