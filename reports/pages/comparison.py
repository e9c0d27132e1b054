"""One stored comparison as a section: what it found on each workload, and how both sides' settings were found."""

import math
from collections.abc import Mapping
from typing import Any

from hpt_reports.comparisons import (
    BUDGETS,
    DEFAULT_ARM,
    WORKLOADS,
    budget_of,
    calibration_of,
    findings_in,
    measured_arms,
)
from hpt_reports.evidence import Source
from hpt_reports.formatting import (
    DIVERGED,
    NOT_MEASURED,
    count,
    file_name,
    harmless,
    interval,
    num_bytes,
    percent,
    plain,
    ratio,
    ratio_cell,
    table,
)
from hpt_reports.inner_optimizers import beside, beside_overall, has_several, optimizers_of, over_own, told
from hpt_reports.page import Links
from hpt_reports.pages import ablations, forecasts, peers
from hpt_reports.tuning import BASELINES, LACKS, Standing, bracket, lack, of_arm, of_baseline, of_overall

CHECK_WORKLOADS = {
    "byte-gpt-variant": "A check workload: byte-gpt with another width and context, for which none of the trainer's "
    "defaults was chosen; it shows whether what was found with byte-gpt holds there. No target is set on it."
}


def section(source: Source, links: Links) -> dict[str, Any]:
    """What the template needs of one comparison."""
    settings, tag = source.document["settings"], file_name(source.label)
    return {
        "title": f"Budget {harmless(budget_of(source))}{_tried(source)}: {_state(source)}",
        "setting": f"{count(len(settings['seeds']), 'seed')}, {count(int(settings['threads']), 'thread')}, device "
        f"{harmless(settings['device'])} ({links.to(source)})."
        + ("" if budget_of(source) in BUDGETS else " This budget tests the tool; no target is judged by it."),
        "overall": _overall_table(source, links),
        "peers": peers.section(source, links) if has_several(source) else None,
        "ablations": ablations.ablation_table(source, links),
        "calibrations": _calibration_table(source, links),
        "tuning": _tuning_table(source, links),
        "ratios": f"ratios_{tag}",
        "forecasts": forecasts.forecast_table(source, links),
        "reliability": f"reliability_{tag}",
        "workloads": [_workload(source, name, values, links) for name, values in source.document["workloads"].items()],
    }


def _tried(source: Source) -> str:
    return f", inner optimizers {harmless(', '.join(optimizers_of(source)))}" if has_several(source) else ""


def has_tuned(source: Source) -> bool:
    """Some measured baseline was tuned, and its learning-rate bracket is closed."""
    return Standing.CLOSED in _standings(source)


def _standings(source: Source) -> set[Standing]:
    return {of_baseline(one) for one in source.document["workloads"].values() if one["baseline"] is not None}


def _state(source: Source) -> str:
    found = _standings(source)
    if len(found) == 1:
        return {**BASELINES, Standing.CLOSED: "tuned baselines", Standing.UNTUNED: "baselines not tuned"}[found.pop()]
    return "some baselines not tuned or with an open bracket" if found else f"baselines {NOT_MEASURED}"


def overall_line(source: Source, links: Links) -> str:
    """The default trainer over all workloads, with what its own settings lack."""
    own = {
        name: of_arm(values, DEFAULT_ARM)
        for name, values in source.document["workloads"].items()
        if DEFAULT_ARM in values["arms"]
    }
    lacking = [f"{name} ({LACKS[found]})" for name, found in own.items() if found is not Standing.CLOSED]
    said = told(source.document["overall"][DEFAULT_ARM]["sentence"], source)
    also = f" The arm's own settings fall short on {', '.join(lacking)}." if lacking else ""
    return cited(said + also, source, links)


def cited(sentence: object, source: Source, links: Links) -> str:
    """A sentence of the comparison with its source before the full stop."""
    return f"{harmless(str(sentence).rstrip('.'))} ({links.to(source)})."


def _tuning_table(source: Source, links: Links) -> str:
    """Settings of the baseline and of every arm that has its own, and both sides of the learning rate's bracket."""
    rows: list[dict[str, str]] = []
    for workload, values in source.document["workloads"].items():
        arms = {"baseline": (values["baseline"] or {}).get("tuned")}
        arms |= {name: arm["tuned"] for name, arm in values["arms"].items()}
        for name, tuned in arms.items():
            if tuned is None:
                continue
            recipe = tuned["recipe"]
            rows.append(
                {
                    "workload": harmless(workload),
                    "arm": harmless(name),
                    "learning rate": f"x {plain(recipe['lr_factor'])}",
                    "schedule": harmless(recipe["shape"]),
                    "memory": "the workload's" if recipe["memory"] is None else plain(recipe["memory"]),
                    "learning-rate bracket": bracket(tuned),
                    "trials": str(len(tuned.get("trials") or [])),
                    "settings from": harmless(tuned["source"]),
                }
            )
    return table(rows, links.to(source))


def _calibration_table(source: Source, links: Links) -> str:
    """Arms of known ratio and whether it was found; empty without any."""
    rows = [
        {
            "workload": harmless(one.finding.workload),
            "arm": harmless(one.finding.arm),
            "true ratio": "not above its controls" if one.known is None else ratio(one.known),
            "work ratio found": one.text,
            "width": f"±{percent(one.half_width)}" if one.ends is not None else DIVERGED,
            "over the best control": ratio(one.over_control),
            "found": "yes" if one.is_found else "no",
        }
        for one in map(calibration_of, findings_in(source))
        if one is not None
    ]
    return table(rows, links.to(source))


def _overall_table(source: Source, links: Links) -> str:
    rows = [
        {
            "arm, all workloads": harmless(name),
            "role": harmless(one["role"]),
            "work ratio": ratio_cell(one["work_ratio"]),
            "steps ratio": ratio_cell(one["steps_ratio"]),
            "verdict": harmless(one["judgement"]["verdict"]),
            "other optimizers": beside_overall(source, name) if one["role"] == "method" else "-",
            "settings, the least searched": LACKS[of_overall(source.document["workloads"], name)],
        }
        for name, one in source.document["overall"].items()
    ]
    return table(rows, links.to(source))


def _workload(source: Source, name: str, values: Mapping[str, Any], links: Links) -> dict[str, Any]:
    arms = measured_arms(values)
    return {
        "name": harmless(name),
        "baseline": _baseline(values, links.to(source)),
        "kind": CHECK_WORKLOADS.get(name, "" if name in WORKLOADS else "No target is set on this workload."),
        "sentences": [
            cited(told(_with_lack(arm["sentence"], values, arm_name), source), source, links)
            for arm_name, arm in arms.items()
            if arm["role"] == "method"
        ],
        "arms": _arm_table(source, values, links.to(source)),
        "unmeasured": [harmless(arm) for arm, found in values["arms"].items() if found["measures"] is None],
        "figure": f"loss_{file_name(name)}_{file_name(source.label)}",
    }


def _with_lack(sentence: object, values: Mapping[str, Any], arm: str) -> str:
    """The comparison's sentence names what the baseline lacks; this adds the arm's side."""
    found = of_arm(values, arm)
    words = {
        Standing.CLOSED: "",
        Standing.OPEN: f" The learning-rate bracket of {arm} is open, so a better {arm} may exist.",
        Standing.UNTUNED: f" {arm} was not tuned.",
    }
    return f"{sentence}{words[found]}"


def _baseline(values: Mapping[str, Any], link: str) -> str:
    base = values["baseline"]
    if base is None:
        return f"Baseline: {NOT_MEASURED}."
    at_full = next(one["mean_loss"] for one in base["lengths"] if one["steps"] == values["steps"])
    tuned = base["tuned"]
    name = BASELINES[of_baseline(values)].capitalize()
    recipe = tuned["recipe"]
    spread = "" if base["seed_sd"] is None else f", standard deviation over seeds {plain(base['seed_sd'])}"
    return (
        f"{name}: {values['steps']} updates, validation loss {plain(at_full, 5)}{spread}; knowing nothing gives "
        f"{plain(values['chance_loss'], 4)}. Learning rate x {plain(recipe['lr_factor'])}, schedule "
        f"{harmless(recipe['shape'])}, learning-rate bracket: {bracket(tuned)}, "
        f"{count(len(tuned.get('trials') or []), 'trial')} ({link})."
    )


def _arm_table(source: Source, values: Mapping[str, Any], link: str) -> str:
    rows: list[dict[str, str]] = []
    for name, arm in measured_arms(values).items():
        found = arm["measures"]
        worst = found["worst_seed"]["work_ratio"]
        is_method = arm["role"] == "method"
        own = ratio_cell(over_own(arm)["work_ratio"]) if arm["role"] != "peer" else "-"
        rows.append(
            {
                "arm": harmless(name),
                "role": harmless(arm["role"]),
                "work ratio": ratio_cell(found["work_ratio"]),
                **({"work ratio to its own optimizer": own} if has_several(source) else {}),
                "other optimizers": beside(source, values, name) if is_method else "-",
                "steps ratio": ratio_cell(found["steps_ratio"]),
                "wall-clock ratio": ratio_cell(found["wall_ratio"]),
                "loss change": _change(found["loss_change"]),
                "backward passes saved": percent(found["backwards_saved_frac"]),
                "peak memory": num_bytes(found["peak_host_bytes"]),
                "worst seed": ratio(worst) if worst else DIVERGED,
                "verdict": harmless(arm["judgement"]["verdict"]),
                "settings": lack(values, name) or "tuned",
            }
        )
    return table(rows, link)


def _change(found: Mapping[str, Any]) -> str:
    """A loss difference; a diverged run has none."""
    if not math.isfinite(found["value"]):
        return DIVERGED
    return f"{plain(found['value'])} {interval(found['low'], found['high'])}"
