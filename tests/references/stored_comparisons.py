"""The stored comparison with other facts: how its sides were tuned, its budget, seeds and day."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpt_reports.evidence import Evidence, gather

DATA = Path(__file__).parents[1] / "reports" / "data"
UNTUNED: Mapping[str, Any] = {
    "recipe": {"lr_factor": 1.0, "shape": "linear", "memory": None},
    "source": "workload",
    "bracket_closed": None,
    "trials": [],
}


def comparison(**changes: Any) -> dict[str, Any]:
    """The stored one, tuned on both sides, with the budget `standard` and on mlp alone.

    Args:
        changes: `budget`, `day`, `num_seeds`, `value` of hybrid's work ratio, `name` of the workload, and for the
            sides `baseline` and `hybrid` one of "closed", "open", "untuned".
    """
    document: dict[str, Any] = copy.deepcopy(json.loads((DATA / "compare" / "summary.json").read_text()))
    values = document["workloads"]["mlp"]
    document["workloads"] = {changes.get("name", "mlp"): values}
    document["settings"]["budget"] = changes.get("budget", "standard")
    document["finished_at"] = f"{changes.get('day', '2026-11-23')}T00:00:00+00:00"
    hybrid = values["arms"]["hybrid"]
    hybrid["measures"]["seeds"] = list(range(changes.get("num_seeds", 2)))
    hybrid["measures"]["work_ratio"].update(value=changes.get("value", 1.4), low=1.3, high=1.5)
    hybrid["judgement"]["verdict"] = "accelerates"
    for name, side in (("baseline", values["baseline"]), ("hybrid", hybrid)):
        side["tuned"] = _settings(side["tuned"], changes.get(name, "closed"))
    return document


def _settings(tuned: dict[str, Any], how: str) -> dict[str, Any]:
    if how == "untuned":
        return dict(UNTUNED)
    return tuned | {"bracket_closed": how == "closed"}


def stored_as(folder: Path, **documents: Mapping[str, Any]) -> Evidence:
    """The comparisons below a folder, each in one of its own."""
    for name, document in documents.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "summary.json").write_text(json.dumps(document))
    return gather(folder)
