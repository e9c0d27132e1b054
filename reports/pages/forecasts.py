"""Who forecast the loss ahead, and how well: the learned model beside ridge and a constant."""

from hpt_reports.comparisons import measured_arms
from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, harmless, plain, table
from hpt_reports.page import Links


def forecast_table(source: Source, links: Links) -> str:
    """Scores by workload and method, a column a forecaster; "" for a comparison that has none."""
    found = [
        (workload, name, arm["forecasts"])
        for workload, values in source.document["workloads"].items()
        for name, arm in measured_arms(values).items()
        if arm["role"] == "method" and arm.get("forecasts")
    ]
    forecasters = dict.fromkeys(who for _, _, scores in found for who in scores)
    rows = [
        {
            "workload": harmless(workload),
            "arm": harmless(arm),
            **{
                harmless(who): plain(scores[who]["nll_mean"], 4) if who in scores else NOT_MEASURED
                for who in forecasters
            },
            "forecasts of each": str(max(one["count"] for one in scores.values())),
        }
        for workload, arm, scores in found
    ]
    return table(rows, links.to(source))
