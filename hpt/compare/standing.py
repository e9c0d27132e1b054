"""How far a comparison is: what is settled in its folder, and which of its cells are there.

A recipe is settled when it lies in the folder, and where the comparison is tuned, when it comes from trials; the best
optimizer of a workload, when the recipes of all are settled and their trials, or all their cells, say which it is.
Only cells by settled recipes have a name, and can be said to be there or missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpt.compare.cells import Cell, CellFolder
from hpt.compare.peers import Best
from hpt.compare.plan import ComparisonPlan
from hpt.compare.readings import find_bests
from hpt.compare.search import UNTUNED, Tuned
from hpt.compare.shards import Shard
from hpt.compare.tuning import Place, TunedSettings, TuningCache, recipes_of, settings_place, tuned_places

MISSING_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What has to be settled before some cells are known.

    Attributes:
        what: "recipe" or "best optimizer".
        workload: of which.
        arm: whose recipe; None for the best optimizer, on which some arms run.
    """

    what: str
    workload: str
    arm: str | None = None

    @property
    def words(self) -> str:
        """'the recipe of hybrid on mlp', 'the best optimizer of mlp'."""
        return f"the {self.what} of {self.workload if self.arm is None else f'{self.arm} on {self.workload}'}"


class Standing:
    """A picture of a comparison's folder at one moment; nothing is written.

    Args:
        plan: of the comparison.
        recipes: of its own folder.
        cells: finished ones.
        tunes: recipes come from trials.

    Attributes:
        bests: best optimizers that are settled.
        open_places: arms on workloads whose recipes are not settled.

    Raises:
        DocumentError: a file of the folder is damaged.
    """

    def __init__(self, plan: ComparisonPlan, recipes: TuningCache, cells: CellFolder, *, tunes: bool) -> None:
        self._plan, self._folder = plan, cells
        self.bests: dict[str, Best] = {}
        settled: TunedSettings = {}
        for _ in range(2):  # optimizers by themselves, then what runs on the best of them
            kept = {(task.workload, arm.name): recipes.load(plan, task, arm) for task, arm in self._places()}
            settled = {
                place: one
                for place, one in kept.items()
                if one is not None and not (tunes and one.source == "workload")
            }
            self.bests = self._find_bests(settled)
        places = self._places()
        self.open_places: list[Place] = [one for one in places if (one[0].workload, one[1].name) not in settled]
        self._settled = settled

    def _places(self) -> list[Place]:
        return tuned_places(self._plan, self.bests)

    def _filled(self, settled: Mapping[tuple[str, str], Tuned]) -> TunedSettings:
        """With something in the place of what is not settled, which nothing is read from."""
        return {(task.workload, arm.name): UNTUNED for task, arm in self._places()} | dict(settled)

    def _find_bests(self, settled: TunedSettings) -> dict[str, Best]:
        plan = self._plan
        found = find_bests(plan, self._filled(settled), self._folder)
        alone = [plan.alone(one).name for one in plan.optimizers]
        return {
            workload: best
            for workload, best in found.items()
            if len(alone) == 1 or all((workload, name) in settled for name in alone)
        }

    def cells(self) -> list[Cell]:
        """All cells that have a name by now."""
        plan, settings = self._plan, self._filled(self._settled)
        found = plan.cells(recipes_of(plan, self.bests, settings), self.bests)
        named = {
            (task.workload, arm.name)
            for task in plan.tasks
            for arm in plan.arms_on(self.bests.get(task.workload))
            if settings_place(plan, settings, task.workload, arm) in self._settled
        }
        return [cell for cell in found if (cell.workload, cell.arm) in named]

    def missing(self) -> list[Cell]:
        """The cells of these that have no result yet."""
        return [cell for cell in self.cells() if not self._folder.has(cell)]

    def waits_for(self) -> list[Unsettled]:
        """What has to be settled before the names of all cells are known."""
        recipes = [Unsettled("recipe", task.workload, arm.name) for task, arm in self.open_places]
        bests = [
            Unsettled("best optimizer", task.workload) for task in self._plan.tasks if task.workload not in self.bests
        ]
        return recipes + bests

    def document(self, shard: Shard | None = None) -> dict[str, Any]:
        """Missing cells, what others wait for, whether all is there; JSON values. With a shard only its own cells."""
        cells = [cell for cell in self.missing() if shard is None or shard.has(cell.key)]
        waits = self.waits_for()
        return {
            "schema_version": MISSING_SCHEMA_VERSION,
            "kind": "missing cells",
            "shard": None if shard is None else str(shard),
            "complete": not cells and not waits,
            "cells": [
                {"key": cell.key, **{name: getattr(cell, name) for name in ("workload", "arm", "seed", "steps")}}
                for cell in cells
            ],
            "waits_for": [{"what": one.what, "workload": one.workload, "arm": one.arm} for one in waits],
        }
