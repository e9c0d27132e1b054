"""What do jumps bring to models too large for a CPU? A row an optimizer and policy."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, code, harmless, plain, ratio, table
from hpt_reports.page import Links


def section(source: Source, links: Links) -> dict[str, str]:
    """What the template needs."""
    link = links.to(source)
    machine = source.document["machine"] or {}
    return {
        "setting": f"On {harmless(machine.get('device_name') or 'a GPU')}, weights in single precision, forward passes "
        f"in {', '.join(sorted({harmless(one) for one in source.document['autocast'].values()}))} ({link}).",
        "rows": _row_table(source, link),
        "rates": _rate_table(source, link),
    }


def _row_table(source: Source, link: str) -> str:
    rows = [
        {
            "workload": code(row["workload"]),
            "optimizer": f"{harmless(row['optimizer'])}, rate x {plain(float(row['lr_factor']))}",
            "updates": str(row["steps"]),
            "policy": harmless(one["policy"]),
            "jumps": str(one["jumps"]),
            "loss, by seed": ", ".join(_loss(loss) for loss in one["losses"].values()),
            "loss without jumps, a longer run": _longer(row),
            "worth, updates": _worth(one),
        }
        for row in source.document["rows"]
        for one in row["policies"]
    ]
    return table(rows, link)


def _longer(row: Mapping[str, Any]) -> str:
    losses = ", ".join(map(_loss, row["longer_losses"].values()))
    return f"{losses} after {row['longer_steps']}" if losses else NOT_MEASURED


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.4f}"


def _worth(one: Mapping[str, Any]) -> str:
    """Geometric mean over seeds, with the smallest and the largest."""
    found = list(one["steps_ratio"].values())
    if not found:
        return NOT_MEASURED
    mean = ratio(math.exp(fmean(map(math.log, found))))
    return mean if len(found) == 1 else f"{mean} [{ratio(min(found))}, {ratio(max(found))}]"


def _rate_table(source: Source, link: str) -> str:
    rows: list[dict[str, str]] = []
    for one in source.document["trials"]:
        tried = sorted(one["losses"].items(), key=lambda pair: float(pair[0]))
        losses = [math.inf if loss is None else loss for _, loss in tried]
        is_open = min(losses) in (losses[0], losses[-1])
        rows.append(
            {
                "workload": code(one["workload"]),
                "optimizer": harmless(one["optimizer"]),
                "updates": str(one["steps"]),
                "rates and losses": ", ".join(f"x {harmless(rate)}: {_loss(loss)}" for rate, loss in tried),
                "the best lies": "at the edge" if is_open else "between two worse ones",
            }
        )
    return table(rows, link)
