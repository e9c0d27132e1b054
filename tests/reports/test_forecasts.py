"""Who forecast the loss ahead: the evaluation shows the stored scores of methods, and of nothing else."""

from pathlib import Path

from references.markdown_tables import rows_of
from references.stored_comparisons import comparison, stored_as

from hpt_reports.page import Links
from hpt_reports.pages import evaluation

LINKS = Links(runs="", pages="")


def test_the_scores_of_a_method_stand_beside_each_other(tmp_path: Path) -> None:
    """A forecaster that never scored is not measured; what a calibration's forecasters did is no matter."""
    document = comparison()
    arms = document["workloads"]["mlp"]["arms"]
    scores = {"rssm": {"nll_mean": -0.25, "count": 40}, "constant": {"nll_mean": None, "count": 40}}
    arms["hybrid"]["forecasts"] = arms["self"]["forecasts"] = scores
    (section,) = evaluation.build(stored_as(tmp_path, one=document), LINKS).values["comparisons"]
    (row,) = rows_of(section["forecasts"])
    assert (row["workload"], row["arm"], row["forecasts of each"]) == ("mlp", "hybrid", "40")
    assert (row["rssm"], row["constant"]) == ("-0.2500", "not measured")


def test_without_a_forecaster_there_is_no_table(tmp_path: Path) -> None:
    """As in comparisons of a day before scores were stored."""
    (section,) = evaluation.build(stored_as(tmp_path, one=comparison()), LINKS).values["comparisons"]
    assert section["forecasts"] == ""
