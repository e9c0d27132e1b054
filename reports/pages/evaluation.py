"""EVALUATION_REPORT: does it pay? Comparisons with tuned baselines and controls, and paired runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.achieved import verdicts
from reports.comparisons import BUDGETS, DEFAULT_ARM, budget_of, comparisons, default_arm, measured_arms
from reports.evidence import Evidence, Source
from reports.figures.comparison import draw_losses, draw_pairs, draw_ratios, draw_reliability
from reports.figures.style import file_name
from reports.kinds import COMPARISON, PREDICTION, TRAINING
from reports.markdown_text import code, harmless, table
from reports.numbers import NOT_MEASURED, count, interval, num_bytes, percent, plain, ratio
from reports.originals import claims
from reports.pages import paired_runs
from reports.view import MISSED, REACHED, REPORTED, Figure, Links, Missing, Page, Verdict, absent, counted

NAME = "EVALUATION_REPORT"
DIVERGED = "diverged"
WORKLOADS = ("byte-gpt-b16", "byte-gpt", "mlp", "cnn", "regression")
WORDS = {"accelerates": REACHED, "no difference": REPORTED, "hurts": MISSED}


def build(evidence: Evidence, links: Links) -> Page:
    """The report's content."""
    found = comparisons(evidence)
    paired = evidence.newest(PREDICTION)
    runs = evidence.of(TRAINING)
    judged = [*verdicts(evidence, (COMPARISON,)), *(verdict for source in found for verdict in _verdicts(source))]
    figures = [figure for source in found for figure in _figures(source)]
    figures += [] if paired is None else [draw_pairs(paired, paired_runs.losses(paired))]
    return Page(
        name=NAME,
        title="Evaluation: does it pay?",
        summary=_summary(evidence, found, paired, links, counted(judged)),
        verdicts=judged,
        sources=[*found, *([] if paired is None else [paired]), *runs],
        missing=_missing(evidence, found, paired),
        figures={one.name: one for one in figures},
        values={
            "comparisons": [_comparison(one, links) for one in found],
            "paired": None if paired is None else paired_runs.section(paired, links),
            "runs": _run_table(runs, links),
            "claim_list": claims(NAME),
        },
    )


def _verdicts(source: Source) -> list[Verdict]:
    """The comparison's own words on every method."""
    return [
        Verdict(
            what=harmless(f"{name} on {workload} ({budget_of(source)})"),
            threshold="accelerates: interval above 1 and above the best control",
            measured=f"{ratio(arm['measures']['work_ratio']['value'])} "
            f"{interval(arm['measures']['work_ratio']['low'], arm['measures']['work_ratio']['high'])}, "
            f"{harmless(arm['judgement']['verdict'])}",
            word=WORDS.get(str(arm["judgement"]["verdict"]), NOT_MEASURED),
            sources=(source,),
        )
        for workload, found in source.document["workloads"].items()
        for name, arm in measured_arms(found).items()
        if arm["role"] == "method"
    ]


def _figures(source: Source) -> list[Figure]:
    tag = file_name(source.label)
    drawn = [draw_losses(source, name, tag) for name in source.document["workloads"]]
    drawn += [draw_ratios(source, tag), draw_reliability(source, tag)]
    return [one for one in drawn if one is not None]


def _summary(evidence: Evidence, found: Sequence[Source], paired: Source | None, links: Links, tally: str) -> list[str]:
    overall = next(
        ((one, one.document["overall"][DEFAULT_ARM]) for one in found if DEFAULT_ARM in one.document["overall"]), None
    )
    each = [(name, worth) for name in WORKLOADS if (worth := default_arm(evidence, name)) is not None]
    by_word = [f"{name} {ratio(one.value)}" for name, one in each]
    hurt = [
        f"{workload}: {name}"
        for source in found
        for workload, values in source.document["workloads"].items()
        for name, arm in measured_arms(values).items()
        if arm["role"] == "method" and arm["judgement"]["verdict"] == "hurts"
    ]
    against = [f"{harmless(name)} {ratio(value) if value else DIVERGED}" for name, value in _controls(found)]
    return [
        f"Over all workloads: {NOT_MEASURED}."
        if overall is None
        else _cited(overall[1]["sentence"], overall[0], links),
        f"The default trainer against the tuned baseline, work ratio: {', '.join(by_word)} "
        f"({links.every([one.source for _, one in each])})."
        if each
        else f"The default trainer against the tuned baseline on its workloads: {NOT_MEASURED}.",
        f"Best control of each workload: {', '.join(against)} ({links.every(found)})."
        if against
        else f"Controls: {NOT_MEASURED}.",
        f"Methods that hurt: {harmless(', '.join(hurt)) or 'none'} ({links.every(found)})."
        if found
        else f"Whether it ever hurts: {NOT_MEASURED}.",
        f"Verdicts: {tally} ({links.target}). " + paired_runs.line(paired, links),
    ]


def _cited(sentence: object, source: Source, links: Links) -> str:
    """A sentence of the comparison with its source before the full stop."""
    return f"{harmless(str(sentence).rstrip('.'))} ({links.to(source)})."


def _controls(found: Sequence[Source]) -> list[tuple[str, float]]:
    best: dict[str, float] = {}
    for source in found:
        for workload, values in source.document["workloads"].items():
            controls = [
                float(arm["measures"]["work_ratio"]["value"])
                for arm in measured_arms(values).values()
                if arm["role"] == "control"
            ]
            if controls and workload not in best:
                best[workload] = max(controls)
    return list(best.items())


def _comparison(source: Source, links: Links) -> dict[str, Any]:
    settings, tag = source.document["settings"], file_name(source.label)
    return {
        "title": f"Budget {harmless(budget_of(source))}",
        "setting": f"{count(len(settings['seeds']), 'seed')}, {count(int(settings['threads']), 'thread')}, device "
        f"{harmless(settings['device'])} ({links.to(source)})."
        + ("" if budget_of(source) in BUDGETS else " This budget tests the tool; no target is judged by it."),
        "overall": _overall_table(source, links),
        "ratios": f"ratios_{tag}",
        "reliability": f"reliability_{tag}",
        "workloads": [_workload(source, name, values, links) for name, values in source.document["workloads"].items()],
    }


def _overall_table(source: Source, links: Links) -> str:
    rows = [
        [
            harmless(name),
            harmless(one["role"]),
            _ratio(one["work_ratio"]),
            _ratio(one["steps_ratio"]),
            harmless(one["judgement"]["verdict"]),
            links.to(source),
        ]
        for name, one in source.document["overall"].items()
    ]
    return table(["arm, all workloads", "role", "work ratio", "steps ratio", "verdict", "source"], rows)


def _ratio(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NOT_MEASURED
    if not found["value"]:
        return DIVERGED
    bound = {"above": " or more", "below": " or less"}.get(str(found.get("bound")), "")
    return f"{ratio(found['value'])}{bound} {interval(found['low'], found['high'])}"


def _workload(source: Source, name: str, values: Mapping[str, Any], links: Links) -> dict[str, Any]:
    arms = measured_arms(values)
    return {
        "name": harmless(name),
        "baseline": _baseline(values, links.to(source)),
        "sentences": [_cited(arm["sentence"], source, links) for arm in arms.values() if arm["role"] == "method"],
        "arms": _arm_table(arms, links.to(source)),
        "unmeasured": [harmless(arm) for arm, found in values["arms"].items() if found["measures"] is None],
        "figure": f"loss_{file_name(name)}_{file_name(source.label)}",
    }


def _baseline(values: Mapping[str, Any], link: str) -> str:
    base = values["baseline"]
    if base is None:
        return f"Baseline: {NOT_MEASURED}."
    at_full = next(one["mean_loss"] for one in base["lengths"] if one["steps"] == values["steps"])
    tuned = base["tuned"]
    bracket = {True: "closed", False: "open", None: "not tuned"}[tuned.get("bracket_closed")]
    recipe = tuned["recipe"]
    spread = "" if base["seed_sd"] is None else f", standard deviation over seeds {plain(base['seed_sd'])}"
    return (
        f"Tuned baseline: {values['steps']} updates, validation loss {plain(at_full, 5)}{spread}; knowing nothing "
        f"gives {plain(values['chance_loss'], 4)}. Learning rate x {plain(recipe['lr_factor'])}, schedule "
        f"{harmless(recipe['shape'])}, bracket {bracket}, {count(len(tuned.get('trials') or []), 'trial')} ({link})."
    )


def _arm_table(arms: Mapping[str, Mapping[str, Any]], link: str) -> str:
    rows: list[list[str]] = []
    for name, arm in arms.items():
        found = arm["measures"]
        change = found["loss_change"]
        rows.append(
            [
                harmless(name),
                harmless(arm["role"]),
                _ratio(found["work_ratio"]),
                _ratio(found["steps_ratio"]),
                _ratio(found["wall_ratio"]),
                _change(change),
                percent(found["backwards_saved_frac"]),
                num_bytes(found["peak_host_bytes"]),
                ratio(found["worst_seed"]["work_ratio"]) if found["worst_seed"]["work_ratio"] else DIVERGED,
                harmless(arm["judgement"]["verdict"]),
                link,
            ]
        )
    head = ["arm", "role", "work ratio", "steps ratio", "wall-clock ratio", "loss change", "backward passes saved"]
    return table([*head, "peak memory", "worst seed", "verdict", "source"], rows)


def _change(found: Mapping[str, Any]) -> str:
    """A loss difference; a diverged run has none."""
    if not math.isfinite(found["value"]):
        return DIVERGED
    return f"{plain(found['value'])} {interval(found['low'], found['high'])}"


def _run_table(runs: Sequence[Source], links: Links) -> str:
    rows: list[list[str]] = []
    for one in runs:
        facts = one.document
        loss = facts.get("final_loss")
        rows.append(
            [
                harmless(facts["workload"]["name"]),
                harmless(facts["config"]["predictor"]),
                str(facts["seed"]),
                str(facts["num_updates"]) if facts.get("num_updates") is not None else NOT_MEASURED,
                NOT_MEASURED if not isinstance(loss, float) else plain(loss, 5),
                plain((facts.get("counters") or {}).get("full_step_equivalents"), 5),
                str((facts.get("counters") or {}).get("jumps_accepted", NOT_MEASURED)),
                harmless(facts["status"]),
                links.to(one),
            ]
        )
    head = [
        "workload",
        "predictor",
        "seed",
        "updates",
        "validation loss",
        "full-step equivalents",
        "jumps kept",
        "status",
    ]
    return table([*head, "source"], rows)


def _missing(evidence: Evidence, found: Sequence[Source], paired: Source | None) -> list[Missing]:
    lacking = [
        Missing(
            f"the default trainer against a tuned baseline on {code(name)}",
            f"hpt compare --workloads {name} --budget standard --tune --out runs/compare",
        )
        for name in WORKLOADS
        if default_arm(evidence, name) is None
    ]
    if paired is None:
        lacking.append(absent(PREDICTION))
    if not any(str(one.document["settings"]["device"]).startswith("cuda") for one in found):
        lacking.append(
            Missing("a comparison on a GPU", "hpt compare --budget full --tune --device cuda --out runs/compare-full")
        )
    return lacking
