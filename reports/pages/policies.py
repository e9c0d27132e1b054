"""What policies were worth in full runs, and how well forks tell it."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.formatting import code, harmless, percent, plain, ratio, table
from hpt_reports.page import Links
from hpt_reports.pages.sweep import sweep_table, sweep_verdict, sweeps


def section(source: Source, links: Links) -> dict[str, str]:
    """What the template needs."""
    link = links.to(source)
    swept = list(sweeps(source.document))
    return {
        "worth": _worth_table(source, link, "worth_by_seed"),
        "early": _worth_table(source, link, "early_by_seed"),
        "forks": _fork_table(source, link),
        "sweep": sweep_table(swept, link),
        "sweep_verdict": sweep_verdict(swept, link) if swept else "",
        "unseen": _unseen_table(source, link),
    }


def _worth_table(source: Source, link: str, field: str) -> str:
    """Work ratio of each policy over the same optimizer without jumps, each at its best rate; mean log over seeds.

    `field` holds the logarithms by seed; settings that have none are left out.
    """
    names = source.document["policies"]
    rows: list[dict[str, str]] = []
    for one in source.document["worth"]:
        seeds = list(one.get(field, {}).values())
        if not seeds:
            continue
        means = [fmean(seed[place] for seed in seeds) for place in range(len(names))]
        rows.append(
            {
                "workload": code(one["workload"]),
                "optimizer": harmless(one["optimizer"]),
                "rate": " or ".join(f"x {plain(float(rate))}" for rate in one.get("rates", [one["lr_factor"]])),
                "updates": str(one["steps"]),
                "seeds": str(len(seeds)),
                **{harmless(name): ratio(math.exp(mean)) for name, mean in zip(names, means, strict=True)},
            }
        )
    return table(rows, link)


def _unseen_table(source: Source, link: str) -> str:
    """Loss that the default saves in runs that the prior has not seen: mean over seeds, and its range."""
    rows = [
        {
            "workload": code(one["workload"]),
            "optimizer": harmless(one["optimizer"]),
            "rates": ", ".join(f"x {plain(float(rate))}" for rate in one["rates"]),
            "updates": str(one["steps"]),
            "seeds": str(len(one["saved_by_seed"])),
            "loss saved": _saved(list(one["saved_by_seed"].values())),
        }
        for one in source.document.get("unseen", [])
    ]
    return table(rows, link)


def _saved(losses: Sequence[float]) -> str:
    return f"{fmean(losses):+.4f} [{min(losses):+.4f}, {max(losses):+.4f}]"


def _fork_table(source: Source, link: str) -> str:
    """Signs that agree, as measured and as corrected by the other pairs, and the correlation, by kind of fork."""
    rows = [
        {
            "jumps": str(one["num_jumps"]),
            "steps after them": str(one["settle_steps"]),
            "at": percent(float(one["progress"])),
            "costs, share of a run": percent(float(one["cost_frac"])),
            **{harmless(name): _agreement(one, name) for name in source.document["policies"]},
        }
        for one in source.document["candidates"]
    ]
    return table(rows, link)


def _agreement(one: Mapping[str, Any], name: str) -> str:
    correlation = float(one["correlation"][name])
    shown = f", correlation {plain(correlation, 2)}" if math.isfinite(correlation) else ""
    return f"{one['right'][name]}, {one['right_corrected'][name]} of {one['pairs']}{shown}"
