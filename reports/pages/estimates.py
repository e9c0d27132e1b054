"""How far are estimated peaks of memory from measured ones? A row a configuration."""

from hpt_reports.evidence import Source
from hpt_reports.formatting import count, harmless, num_bytes, percent, table
from hpt_reports.page import Links


def section(source: Source, links: Links) -> dict[str, str]:
    """What the template needs."""
    summary, link = source.document["summary"], links.to(source)
    falsely = [harmless(name) for name in summary["falsely_fits"]]
    return {
        "setting": f"{count(summary['configurations'], 'configuration')}, on the host: median error "
        f"{percent(summary['median_error_frac'])}, worst {percent(summary['worst_error_frac'])} ({link}). "
        + (f"Said to fit and do not: {', '.join(falsely)}." if falsely else "None is said to fit that does not."),
        "rows": _row_table(source, link),
    }


def _row_table(source: Source, link: str) -> str:
    rows = [
        {
            "configuration": harmless(row["name"]),
            "measured": num_bytes(row["measured"]["peak_bytes"]),
            "estimated": num_bytes(row["estimated_bytes"]),
            "error": percent(row["error_frac"]),
            "estimated for CUDA": num_bytes(row["estimated_cuda_bytes"]),
            "measured on CUDA": harmless(row["measured_cuda"]),
        }
        for row in source.document["rows"]
    ]
    return table(rows, link)
