"""Which belief about the worth of policies does best on runs that it has not seen?"""

import math
from collections.abc import Mapping
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.figures.policies import draw_beliefs
from hpt_reports.formatting import NOT_MEASURED, harmless, percent, plain, ratio, table
from hpt_reports.page import Figure, Links


def section(source: Source, links: Links) -> dict[str, Any]:
    """What the template needs."""
    document, link = source.document, links.to(source)
    return {
        "setting": f"{document['num_runs']} runs, {document['num_workloads']} workloads, "
        f"{document['num_optimizers']} optimizers ({link}).",
        "models": [f"{harmless(name)}: {harmless(what)}" for name, what in document["models"].items()],
        "splits": [_split(name, found, link) for name, found in document["left_out"].items() if found is not None],
        "figures": [figure.name for figure in figures(source)],
    }


def figures(source: Source) -> list[Figure]:
    """One for each way of leaving runs out."""
    splits = source.document["left_out"]
    return [draw_beliefs(name, found, source) for name, found in splits.items() if found is not None]


def _split(name: str, found: Mapping[str, Any], link: str) -> dict[str, str]:
    """Scores of all models with one workload, or one optimizer, left out at a time."""
    rows = [{"model": harmless(model), **_score(one)} for model, one in found["models"].items()]
    fixed, best = (ratio(math.exp(found[name])) for name in ("fixed_worth", "best_worth"))
    return {
        "name": harmless(name),
        "held_against": f"The best policy for all runs ({harmless(found['best_fixed'])}) is worth {fixed} on average, "
        f"the best of each {best} ({link}).",
        "scores": table(rows, link),
    }


def _score(one: Mapping[str, Any]) -> dict[str, str]:
    over, reliability = one["nll_over_prior"], one["reliability"]
    return {
        "runs": str(one["num_runs"]),
        "work ratio of what it chose": ratio(math.exp(one["worth"])),
        "gap recovered": percent(float(one["gap_recovered"])),
        "nats": plain(one["nll"]) if one["nll"] is not None else NOT_MEASURED,
        "nats above the prior": NOT_MEASURED if over is None else _with_error(over),
        "Brier score": NOT_MEASURED if reliability is None else plain(float(reliability["brier"])),
        "of the base rate": NOT_MEASURED if reliability is None else plain(float(reliability["sample_rate_brier"])),
    }


def _with_error(found: Mapping[str, float | None]) -> str:
    error = "" if found["error"] is None else f" ± {plain(found['error'], 2)}"
    return f"{plain(found['value'])}{error}"
