"""The ladder as a table: gains by the size of the model."""

from hpt_reports.comparisons import budget_of
from hpt_reports.formatting import harmless, ratio_cell, table
from hpt_reports.ladder import COMMAND, Ladder, Rung
from hpt_reports.page import Links, Missing
from hpt_reports.tuning import LACKS, Standing, of_pair


def ladder_table(found: Ladder, links: Links) -> str:
    """A row a size."""
    rows = [
        {
            "workload": harmless(rung.workload),
            "weights": f"{rung.num_weights}",
            **{f"{name}, steps": ratio_cell(ratio) for name, ratio in rung.gains.items()},
            "budget": harmless(budget_of(rung.source)),
            "settings, the least searched": LACKS[_standing(rung)],
            "source": links.to(rung.source),
        }
        for rung in found.rungs
    ]
    return table(rows)


def _standing(rung: Rung) -> Standing:
    """Of all its gains."""
    return max(of_pair(rung.finding.beside, arm) for arm in rung.arms)


def missing(found: Ladder | None) -> list[Missing]:
    """The command that measures it, where it was not."""
    return [] if found is not None else [Missing("the gain against the number of weights, AdamW and Muon", COMMAND)]
