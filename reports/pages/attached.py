"""Do jumps bring as much inside Hugging Face's Trainer as inside HybridTrainer? A row an arm."""

from collections.abc import Mapping
from statistics import fmean

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, count, harmless, percent, table
from hpt_reports.page import Links

ARMS = {
    "hf": "Trainer",
    "hf-jumps": "Trainer with add_jumps",
    "hybrid-prior": "HybridTrainer, the same settings",
    "hybrid": "HybridTrainer, its default",
}
"""As `scripts/measure_attached.py` names them."""
WITHOUT, INSIDE, OWN = "hf", "hf-jumps", "hybrid-prior"


def section(source: Source, links: Links) -> dict[str, str]:
    """What the template needs."""
    link = links.to(source)
    losses = _by_arm(source)
    return {
        "setting": f"Workload byte-gpt, {source.document['steps']} updates with AdamW; the loss is that of the "
        f"validation set. {_compared(losses)} ({link}).",
        "rows": table([_row(arm, losses) for arm in ARMS if arm in losses], link),
    }


def _by_arm(source: Source) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for one in source.document["losses"]:
        found.setdefault(one["arm"], {})[one["seed"]] = one["loss"]
    return found


def _gains(arm: str, losses: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """By how much the loss is lower than Trainer's, by seed."""
    without = losses.get(WITHOUT, {})
    return {seed: without[seed] - loss for seed, loss in losses.get(arm, {}).items() if seed in without}


def _compared(losses: Mapping[str, Mapping[int, float]]) -> str:
    inside, own = _gains(INSIDE, losses), _gains(OWN, losses)
    both = sorted(inside.keys() & own.keys())
    if not both or not (whole := sum(own[seed] for seed in both)):
        return f"The gain inside Trainer over that inside HybridTrainer: {NOT_MEASURED}"
    share = sum(inside[seed] for seed in both) / whole
    return f"The gain inside Trainer is {percent(share)} of that inside HybridTrainer, over {count(len(both), 'seed')}"


def _row(arm: str, losses: Mapping[str, Mapping[int, float]]) -> dict[str, str]:
    gains = _gains(arm, losses)
    return {
        "arm": harmless(ARMS[arm]),
        "seeds": str(len(losses[arm])),
        "loss, mean": f"{fmean(losses[arm].values()):.4f}",
        "lower than Trainer's, by seed": "-"
        if arm == WITHOUT
        else ", ".join(f"{gains[seed]:+.4f}" for seed in sorted(gains)),
        "mean": "-" if arm == WITHOUT or not gains else f"{fmean(gains.values()):+.4f}",
    }
