"""Paired runs at one learning rate: what jumps did to the loss, what a single one was worth, and who forecasts."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, count, file_name, harmless, plain, table
from hpt_reports.inner_optimizers import NO_OTHER
from hpt_reports.page import Links

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
        f"on average over {count(len(changes), 'seed')}; {NO_OTHER} ({links.to(source)})."
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
    rows: list[dict[str, str]] = []
    for seed, part in found.groupby("seed", sort=True):
        known = dict(zip(part["arm"], part["final_loss"], strict=True))
        shown = {harmless(arm): plain(known[arm], 5) if arm in known else NOT_MEASURED for arm in arms}
        change = plain(known[DEFAULT] - known[PLAIN]) if {PLAIN, DEFAULT} <= set(known) else "-"
        rows.append({"pair": f"seed {seed}", **shown, f"{DEFAULT} minus {PLAIN}": change})
    return table(rows, link)


def _fork_table(source: Source, link: str) -> str:
    rows = [
        {
            "fork": f"seed {cell['seed']}, {harmless(cell['arm'])}",
            "at update": str(fork["step"]),
            "loss rose at once by": plain(float(fork["immediate"])),
            "loss saved later": plain(float(fork["value"])),
            "standard error": plain(float(fork["value_se"])),
            "jump kept": "yes" if fork["kept_jump"] else "no",
        }
        for cell in source.document["cells"]
        for fork in cell.get("forks") or []
    ]
    return table(rows, link)


def _by_arm(source: Source, name: str) -> dict[str, list[Mapping[str, Any]]]:
    """One account of every run that has it, by arm."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in source.document["cells"]:
        if isinstance(cell.get(name), Mapping):
            found.setdefault(str(cell["arm"]), []).append(cell[name])
    return found


def _forecast_table(source: Source, link: str) -> str:
    """Mean negative log likelihood of the loss ahead, by who forecast it."""
    rows: list[dict[str, str]] = []
    for arm, accounts in _by_arm(source, "predictor").items():
        scored = [account["scores"] for account in accounts if account.get("scores")]
        for who in dict.fromkeys(name for scores in scored for name in scores):
            known = [float(scores[who]["nll_mean"]) for scores in scored if who in scores]
            name, mean = f"{harmless(arm)}, {harmless(who)}", plain(statistics.mean(known), 4)
            rows.append(
                {"forecast of the loss ahead": name, "negative log likelihood, nats": mean, "runs": str(len(known))}
            )
    return table(rows, link)


def _confidence_table(source: Source, link: str) -> str:
    """Brier scores of the confidence, and of a constant one."""
    rows: list[dict[str, str]] = []
    for arm, accounts in _by_arm(source, "confidence").items():
        scored = [one for one in accounts if one.get("brier") is not None and one.get("base_rate_brier") is not None]
        if scored:
            own, base = (plain(_mean(scored, name)) for name in ("brier", "base_rate_brier"))
            runs = str(len(scored))
            rows.append({"confidence": harmless(arm), "Brier score": own, "of the base rate": base, "runs": runs})
    return table(rows, link)


def _mean(accounts: Sequence[Mapping[str, Any]], name: str) -> float:
    return statistics.mean(float(one[name]) for one in accounts)
