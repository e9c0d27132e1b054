"""Summaries of comparisons of several inner optimizers, made by the harness itself from made-up cells of known ratios.

T steps of Muon are worth 1.7 T of AdamW and cost a quarter more, those of SOAP 1.5 T for half as much again; the hybrid
is worth 1.3 on AdamW and 1.1 on the others, unless a test says otherwise.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from references.known_results import SEEDS, T, loss_of, make_result

from hpt.compare.arms import BASELINE
from hpt.compare.cells import Cell, CellFolder, CellResult, Recipe
from hpt.compare.plan import ComparisonPlan
from hpt.compare.readings import find_bests, read
from hpt.compare.roster import ARMS
from hpt.compare.suite import Task
from hpt.compare.summary import Circumstances, summarize
from hpt.compare.tuning import Tuned, recipes_of

FIVE = ("byte-gpt-b16", "byte-gpt", "mlp", "cnn", "regression")
ALONE = {"adamw": 1.0, "muon": 1.7, "soap": 1.5, "workload": 1.0}
"""Worth of a step of each by itself, in steps of AdamW."""
STEP_WORK = {"adamw": 1.0, "muon": 1.25, "soap": 1.5, "workload": 1.0}
GAINS = {"hybrid": 1.3, "hybrid-muon": 1.1, "hybrid-soap": 1.1}
"""Worth of a step of an arm, in steps of its own optimizer."""
NOISE = dict(zip(SEEDS, (0.001, -0.001, 0.0005, 0.0), strict=True))


def several(**changes: Any) -> dict[str, Any]:
    """The document on mlp and cnn with AdamW and Muon; made once for each set of changes, then copied.

    Args:
        changes: `optimizers`, the reference first; `arms` besides the baseline, as they are named on the reference;
            `gains` of arms by name, others being worth 1; `open_brackets`, the arms whose learning-rate bracket is
            open; put in afterwards `budget`, `num_weights` of every model, and `names` of the workloads, both repeated
            for more than two.
    """
    names, num_weights = changes.pop("names", ("mlp", "cnn")), changes.pop("num_weights", None)
    budget = changes.pop("budget", "standard")
    document = json.loads(_made(json.dumps(changes, sort_keys=True)))
    pair = list(document["workloads"].values())
    document["settings"]["budget"] = budget
    document["workloads"] = {
        name: copy.deepcopy(pair[place % 2]) | {"num_weights": num_weights} for place, name in enumerate(names)
    }
    return document


@cache
def _made(changes: str) -> str:
    wanted: dict[str, Any] = {"optimizers": ("adamw", "muon"), "arms": ("hybrid", "lr-boost"), "gains": GAINS}
    wanted |= {"open_brackets": ()} | json.loads(changes)
    optimizers = tuple(wanted["optimizers"])
    plan = ComparisonPlan(
        tasks=(Task("mlp", T), Task("cnn", T)),
        arms=tuple(ARMS[name] for name in (BASELINE, *wanted["arms"])),
        seeds=SEEDS,
        length_fracs=(0.7, 1.0, 1.6),
        optimizers=optimizers,
    )
    arms = _tuned_arms(optimizers)
    settings = {(task.workload, arm): _tuned(arm, wanted["open_brackets"]) for task in plan.tasks for arm in arms}
    about = Circumstances(
        command=["hpt", "compare", "--optimizers", ",".join(optimizers)],
        finished_at="2026-12-01T00:00:00+00:00",
        budget="standard",
        jobs=1,
        failed={},
        complete=True,
    )
    with TemporaryDirectory() as place:
        folder = CellFolder(Path(place))
        bests = find_bests(plan, settings, folder)
        for cell in plan.cells(recipes_of(plan, bests, settings), bests):
            folder.store(cell, _result(cell, wanted["gains"]))
        return json.dumps(summarize(plan, settings, read(plan, bests, settings, folder), about))


def _tuned_arms(optimizers: Sequence[str]) -> list[str]:
    """Optimizers by themselves, the first as the baseline, and the hybrid on each."""
    others = optimizers[1:]
    return [BASELINE, "hybrid", *others, *(f"hybrid-{one}" for one in others)]


def _tuned(arm: str, open_brackets: Sequence[str]) -> Tuned:
    """With trials whose lowest loss is the lower the better the optimizer is by itself."""
    loss = 3.0 - ALONE.get(arm.removeprefix("hybrid-"), 1.0)
    trials = [{"lr_factor": rate, "shape": "linear", "memory": None, "loss": loss + abs(rate - 1.0)} for rate in (1, 2)]
    return Tuned(recipe=Recipe(), source="tuned", bracket_closed=arm not in open_brackets, trials=trials)


def _result(cell: Cell, gains: Mapping[str, float]) -> CellResult:
    optimizer = cell.recipe.optimizer
    gain = gains.get(cell.arm, 1.0)
    is_alone = cell.arm in (BASELINE, *ALONE)
    loss = loss_of(ALONE[optimizer] * gain * cell.steps, cell.seed) + (0.0 if is_alone else NOISE[cell.seed])
    return make_result(loss, cell.steps * STEP_WORK[optimizer])
