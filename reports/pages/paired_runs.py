"""Paired runs at one learning rate: what jumps did to the loss, what a single one was worth, and who forecasts."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.evidence import Source
from reports.figures.style import file_name
from reports.formatting import NOT_MEASURED, count, harmless, plain, table
from reports.page import Links

PLAIN, DEFAULT = "plain", "default"
ORDER = (PLAIN, DEFAULT)


def losses(source: Source) -> pd.DataFrame:
    """Validation losses: seed, arm, final_loss; plain first, then the default, then the other arms."""
    rows = [
        (one["seed"], str(one["arm"]), float(one["final_loss"]))
        for one in source.document["cells"]
        if one["final_loss"] is not None
    ]
    rows.sort(key=lambda row: (ORDER.index(row[1]) if row[1] in ORDER else len(ORDER), row[1], row[0]))
    return pd.DataFrame(rows, columns=["seed", "arm", "final_loss"])


def line(source: Source | None, links: Links) -> str:
    """One sentence for the summary."""
    changes = [] if source is None else _changes(losses(source))
    if source is None or not changes:
        return f"Paired runs at one learning rate: {NOT_MEASURED}."
    mean = statistics.mean(changes)
    return (
        f"Paired runs of {harmless(source.document['workload'])} at one learning rate, untuned: the loss with "
        f"prediction is {plain(abs(mean))} nats {'lower' if mean < 0 else 'higher'} "
        f"on average over {count(len(changes), 'seed')} ({links.to(source)})."
    )


def section(source: Source, links: Links) -> dict[str, Any]:
    """What the template needs."""
    link = links.to(source)
    return {
        "name": f"pairs_{file_name(str(source.document['workload']))}",
        "workload": harmless(source.document["workload"]),
        "setting": f"{source.document['steps']} updates a run, "
        f"{count(int(source.document['threads']), 'thread')} ({link}).",
        "table": _loss_table(losses(source), link),
        "forks": _fork_table(source, link),
        "forecasts": _forecast_table(source, link),
        "confidence": _confidence_table(source, link),
    }


def _changes(found: pd.DataFrame) -> list[float]:
    """Loss with prediction minus without, by seed."""
    by_arm = {str(arm): dict(zip(part["seed"], part["final_loss"], strict=True)) for arm, part in found.groupby("arm")}
    without, with_it = by_arm.get(PLAIN, {}), by_arm.get(DEFAULT, {})
    return [float(with_it[seed] - without[seed]) for seed in sorted(set(without) & set(with_it))]


def _loss_table(found: pd.DataFrame, link: str) -> str:
    arms = list(dict.fromkeys(found["arm"]))
    rows: list[list[str]] = []
    for seed, part in found.groupby("seed", sort=True):
        known = dict(zip(part["arm"], part["final_loss"], strict=True))
        change = known[DEFAULT] - known[PLAIN] if {PLAIN, DEFAULT} <= set(known) else None
        shown = [plain(known[arm], 5) if arm in known else NOT_MEASURED for arm in arms]
        rows.append([f"seed {seed}", *shown, "-" if change is None else plain(change), link])
    return table(["pair", *map(harmless, arms), f"{DEFAULT} minus {PLAIN}", "source"], rows)


def _fork_table(source: Source, link: str) -> str:
    rows = [
        [
            f"seed {cell['seed']}, {harmless(cell['arm'])}",
            str(fork["step"]),
            plain(float(fork["immediate"])),
            plain(float(fork["value"])),
            plain(float(fork["value_se"])),
            "yes" if fork["kept_jump"] else "no",
            link,
        ]
        for cell in source.document["cells"]
        for fork in cell.get("forks") or []
    ]
    head = ["fork", "at update", "loss rose at once by", "loss saved later", "standard error", "jump kept", "source"]
    return table(head, rows)


def _by_arm(source: Source, name: str) -> dict[str, list[Mapping[str, Any]]]:
    """One account of every run that has it, by arm."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in source.document["cells"]:
        if isinstance(cell.get(name), Mapping):
            found.setdefault(str(cell["arm"]), []).append(cell[name])
    return found


def _forecast_table(source: Source, link: str) -> str:
    """Mean negative log likelihood of the loss ahead, by who forecast it."""
    rows: list[list[str]] = []
    for arm, accounts in _by_arm(source, "predictor").items():
        scored = [account["scores"] for account in accounts if account.get("scores")]
        for who in dict.fromkeys(name for scores in scored for name in scores):
            known = [float(scores[who]["nll_mean"]) for scores in scored if who in scores]
            rows.append([f"{harmless(arm)}, {harmless(who)}", plain(statistics.mean(known), 4), str(len(known)), link])
    return table(["forecast of the loss ahead", "negative log likelihood, nats", "runs", "source"], rows)


def _confidence_table(source: Source, link: str) -> str:
    """Brier scores of the confidence, and of a constant one."""
    rows: list[list[str]] = []
    for arm, accounts in _by_arm(source, "confidence").items():
        scored = [one for one in accounts if one.get("brier") is not None and one.get("base_rate_brier") is not None]
        if scored:
            means = [_mean(scored, name) for name in ("brier", "base_rate_brier")]
            rows.append([harmless(arm), *(plain(mean) for mean in means), str(len(scored)), link])
    return table(["confidence", "Brier score", "of the base rate", "runs", "source"], rows)


def _mean(accounts: Sequence[Mapping[str, Any]], name: str) -> float:
    return statistics.mean(float(one[name]) for one in accounts)
