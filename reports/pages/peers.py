"""Several inner optimizers in one comparison: each by itself, and the hybrid on the best of each workload."""

from collections.abc import Mapping
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, file_name, harmless, plain, ratio_cell, table
from hpt_reports.inner_optimizers import best_peer, optimizers_of, peers_of
from hpt_reports.page import Links
from hpt_reports.tuning import bracket, lack

SIDES = {"over_own": "hybrid over it", "over_reference": "hybrid over {reference}"}

ALONE = (
    *("learning rate", "schedule", "memory", "learning-rate bracket", "trials"),
    *("work of its step", "loss at T", "standard deviation over seeds", "trained as"),
)
"""Of an optimizer by itself: settings, full-step equivalents of an update, its end, and as which it trained."""


def section(source: Source, links: Links) -> dict[str, Any]:
    """What the template needs."""
    return {
        "sentences": headline_sentences(source, links),
        "headline": _headline_table(source, links),
        "alone": _alone_table(source, links),
        "figure": f"optimizers_{file_name(source.label)}",
    }


def headline_sentences(source: Source, links: Links) -> list[str]:
    """The comparison's own, over all workloads first, each with what its settings lack."""
    workloads = source.document["workloads"]
    each = {name: one["headline"] for name, one in workloads.items() if one.get("headline") is not None}
    lacks = {name: lack(workloads[name], head["arm"]) for name, head in each.items()}
    everywhere = "; ".join(f"{name}: {words}" for name, words in lacks.items() if words)
    overall = source.document.get("headline")
    found = [] if overall is None else [(overall["sentence"], everywhere)]
    found += [(head["sentence"], lacks[name]) for name, head in each.items()]
    return [_cited(sentence, words, source, links) for sentence, words in found]


def _cited(sentence: object, lacking: str, source: Source, links: Links) -> str:
    short = f". Settings fall short: {lacking}" if lacking else ""
    return f"{harmless(str(sentence).rstrip('.') + short)} ({links.to(source)})."


def _headline_table(source: Source, links: Links) -> str:
    """A row a workload, and one over all."""
    reference = optimizers_of(source)[0]
    rows = [
        {
            "workload": harmless(name),
            **_best(values),
            **_sides(values.get("headline"), reference),
            **_best_by_itself(values["arms"], reference),
        }
        for name, values in source.document["workloads"].items()
    ]
    document = source.document
    rows.append(
        {
            "workload": "all workloads",
            **dict.fromkeys(_best({}), "-"),
            **_sides(document.get("headline"), reference),
            **_best_by_itself(document["overall"], reference),
        }
    )
    return table(rows, links.to(source))


def _best(values: Mapping[str, Any]) -> dict[str, str]:
    """The best optimizer by itself, how it was chosen, and full-step equivalents of one of its updates."""
    best = values.get("best") or {}
    alone = values.get("optimizers", {}).get(best.get("optimizer")) or {}
    return {
        "best by itself": harmless(best.get("optimizer", NOT_MEASURED)),
        "chosen by": harmless(best.get("chosen_by", "-")),
        "work of its step": plain(alone.get("work_per_update"), 4),
    }


def _sides(headline: Mapping[str, Any] | None, reference: str) -> dict[str, str]:
    """The hybrid over the best optimizer by itself, and over the reference."""
    cells: dict[str, str] = {}
    for side, words in SIDES.items():
        name = words.format(reference=harmless(reference))
        found = None if headline is None else headline[side]
        for kind in ("steps", "work"):
            cells[f"{name}, {kind}"] = ratio_cell(None if found is None else found[f"{kind}_ratio"])
        cells[f"{name}, verdict"] = NOT_MEASURED if found is None else harmless(found["judgement"]["verdict"])
    return cells


def _best_by_itself(arms: Mapping[str, Mapping[str, Any]], reference: str) -> dict[str, str]:
    """What the best other optimizer gains over the reference without any jump."""
    name = best_peer(arms)
    found = {} if name is None else peers_of(arms)[name]
    column = f"best other one by itself over {harmless(reference)}"
    cells = {f"{column}, {kind}": ratio_cell(found.get(f"{kind}_ratio")) for kind in ("steps", "work")}
    return {"best other one": NOT_MEASURED if name is None else f"{harmless(name)} by itself", **cells}


def _alone_table(source: Source, links: Links) -> str:
    """Each optimizer by itself: how its settings were found, what its step costs, where it ends."""
    rows = [
        {"workload": harmless(workload), "by itself": harmless(name), **_alone(values, name)}
        for workload, values in source.document["workloads"].items()
        for name in optimizers_of(source)
    ]
    return table(rows, links.to(source))


def _alone(values: Mapping[str, Any], name: str) -> dict[str, str]:
    alone = values.get("optimizers", {}).get(name)
    if alone is None:
        return dict.fromkeys(ALONE, NOT_MEASURED)
    tuned, losses = alone["tuned"], {one["steps"]: one["mean_loss"] for one in alone["lengths"]}
    recipe = tuned["recipe"]
    cells = (
        f"x {plain(recipe['lr_factor'])}",
        harmless(recipe["shape"]),
        "the workload's" if recipe["memory"] is None else plain(recipe["memory"]),
        bracket(tuned),
        str(len(tuned.get("trials") or [])),
        plain(alone.get("work_per_update"), 4),
        plain(losses.get(values["steps"]), 5),
        plain(alone["seed_sd"]),
        harmless(values.get("trained_alike", {}).get(name, "-")),
    )
    return dict(zip(ALONE, cells, strict=True))
