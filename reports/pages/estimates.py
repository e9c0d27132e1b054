"""How far are estimated peaks of memory from measured ones? A row a configuration."""

from collections.abc import Mapping
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, count, harmless, num_bytes, percent, table
from hpt_reports.page import Links

WAYS = {
    "mapped": "host, malloc mapping every block",
    "default": "host, malloc as it comes",
    "cuda": "GPU",
}
"""Ways of measuring, as `scripts/measure_estimates.py` names them."""


def section(source: Source, links: Links) -> dict[str, Any]:
    """What the template needs."""
    link = links.to(source)
    summary = source.document["summary"]
    return {
        "setting": [
            f"{title.capitalize() if way != 'cuda' else title}: {_told(summary.get(way), link)}"
            for way, title in WAYS.items()
        ],
        "rows": _row_table(source, link),
    }


def _told(found: Mapping[str, Any] | None, link: str) -> str:
    if found is None:
        return f"{NOT_MEASURED}."
    falsely = [harmless(name) for name in found["falsely_fits"]]
    return (
        f"{count(found['configurations'], 'configuration')}, median error {percent(found['median_error_frac'])}, worst "
        f"{percent(found['worst_error_frac'])} ({link}). "
        + (f"Said to fit and do not: {', '.join(falsely)}." if falsely else "None is said to fit that does not.")
    )


def _row_table(source: Source, link: str) -> str:
    rows = [
        {
            "configuration": harmless(row["name"]),
            "estimated, host": num_bytes(row["estimated"]["cpu"]["total_bytes"]),
            **{WAYS[way]: _measured(row, way) for way in ("mapped", "default")},
            "estimated, GPU": num_bytes(row["estimated"]["cuda"]["total_bytes"]),
            WAYS["cuda"]: _measured(row, "cuda"),
        }
        for row in source.document["rows"]
    ]
    return table(rows, link)


def _measured(row: Mapping[str, Any], way: str) -> str:
    """With the error of the estimate."""
    if way not in row["measured"]:
        return NOT_MEASURED
    return f"{num_bytes(row['measured'][way]['peak_bytes'])} ({percent(row['error_frac'][way])})"
