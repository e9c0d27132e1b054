"""May one look after every seed and stop? False alarms and coverage of the rule in use, and of those beside it."""

import math
from collections.abc import Mapping
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, code, harmless, percent, plain, table
from hpt_reports.page import Links

PLAIN = "plain"
"""The rule that takes no account of looks."""


def section(source: Source, links: Links) -> dict[str, str]:
    """What the template needs."""
    document, link = source.document, links.to(source)
    return {
        "setting": f"{document['num_series']} series of differences of mean zero, looked at after every seed from "
        f"{document['first_look']} to {document['planned_looks']}; the intervals are to miss the truth at any look in "
        f"{percent(float(document['alpha']))} of them ({link}).",
        "rules": _rule_table(document, link),
        "simulated": _simulated_table(document, link),
        "real": _real_table(document, link),
    }


def _rule_table(document: Mapping[str, Any], link: str) -> str:
    """Seeds for intervals as narrow as Student's t has when one looks once, by rule."""
    rules = {name: one for name, one in document["rules"].items() if name != PLAIN}
    widths = dict.fromkeys(num for one in rules.values() for num in one["seeds_for_width"])
    rows = [
        {"one look": harmless(num)}
        | {
            harmless(f"{name}: {one['what']}"): _seeds(one["seeds_for_width"], num, document)
            for name, one in rules.items()
        }
        for num in widths
    ]
    return table(rows, link)


def _seeds(found: Mapping[str, int | None], width: str, document: Mapping[str, Any]) -> str:
    if width not in found:
        return NOT_MEASURED
    return f"more than {document['planned_looks']}" if found[width] is None else str(found[width])


def _simulated_table(document: Mapping[str, Any], link: str) -> str:
    rows: list[dict[str, str]] = []
    for one in document["simulated"]:
        worst = min(one["stops"], key=lambda stop: stop["coverage"]["value"])
        rows.append(
            {
                "differences": harmless(one["what"]),
                "rule": harmless(one["rule"]),
                "false alarms": _share(one["false_alarms"]),
                "coverage where one stops, lowest": _share(worst["coverage"]),
                "seeds until then": plain(float(worst["mean_seeds"])),
            }
        )
    return table(rows, link)


def _real_table(document: Mapping[str, Any], link: str) -> str:
    rules = list(document["rules"])
    rows = [
        {"baseline": code(one["workload"]), "seeds": str(one["num_seeds"]), "pairs": str(one["num_pairs"])}
        | {"mean ratio": f"{math.exp(min(one['mean_log'], 700.0)):.4f}x", "spread": percent(float(one["sd_log"]))}
        | {
            f"false alarms, {harmless(rule)}": _share(one["false_alarms"][rule])
            if rule in one["false_alarms"]
            else NOT_MEASURED
            for rule in rules
        }
        for one in document["real"] or []
    ]
    return table(rows, link)


def _share(found: Mapping[str, float]) -> str:
    """A share of series and its standard error."""
    return f"{percent(float(found['value']))} ± {plain(100.0 * found['error'], 2)} %"
