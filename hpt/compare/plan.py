"""The cells that a comparison consists of: which arms run on which inner optimizer, at which lengths and seeds.

On every inner optimizer runs that optimizer by itself, at several lengths, and the hybrid; all other arms run on the
best one of the workload, which is known once the optimizers by themselves are tuned. The first optimizer is the
reference: its arms are named without it, and everything is measured against it by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hpt.compare.arms import BASELINE, ON_EACH, Arm
from hpt.compare.cells import Cell, Recipe
from hpt.compare.peers import Best
from hpt.compare.roster import ARMS
from hpt.compare.suite import FURTHER_FRACS, PEER_FRACS, Task
from hpt.optimizers.catalogue import OWN, why_no_jumps

Recipes = Mapping[tuple[str, str], Recipe]
"""Tuned recipes by workload and the arm that they are used `like`."""
Bests = Mapping[str, Best]
"""By workload, where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPlan:
    """Everything that a comparison runs.

    Attributes:
        tasks: workloads and lengths.
        arms: as they are on the reference, the baseline first.
        seeds: of the pairs.
        length_fracs: shares of T at which baselines run.
        optimizers: inner optimizers, the reference first.
        data: for the text workloads.
        device: of every cell; dtype: of its forward pass; threads: of torch.
    """

    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    length_fracs: tuple[float, ...]
    optimizers: tuple[str, ...] = (OWN,)
    data: str | None = None
    device: str = "cpu"
    dtype: str = "none"
    threads: int = 1

    @property
    def reference(self) -> str:
        """The inner optimizer that everything is measured against."""
        return self.optimizers[0]

    def alone(self, optimizer: str) -> Arm:
        """The arm of an inner optimizer without jumps."""
        return ARMS[BASELINE].on(optimizer, self.reference)

    def arms_on(self, best: Best | None) -> list[Arm]:
        """All arms of a workload, the reference by itself first; without its best optimizer those on each of them."""
        each = [arm for arm in self.arms if arm.name in ON_EACH]
        found = [self.alone(one) for one in self.optimizers]
        found += [
            arm.on(one, self.reference)
            for arm in each
            for one in self.optimizers
            if arm.name != BASELINE and not why_no_jumps(one)
        ]
        if best is not None and not why_no_jumps(best.optimizer):
            found += [arm.on(best.optimizer, self.reference) for arm in self.arms if arm.name not in ON_EACH]
        return found

    def cell(self, task: Task, arm: Arm, seed: int, steps: int, recipe: Recipe) -> Cell:
        """The run of an arm that is paired with the baseline's of this seed, `steps` updates long."""
        return Cell(
            workload=task.workload,
            arm=arm.name,
            seed=arm.trained_seed(seed),
            steps=steps,
            recipe=recipe,
            data=self.data,
            device=self.device,
            dtype=self.dtype,
            threads=self.threads,
        )

    def lengths(self, task: Task, optimizer: str) -> list[int]:
        """Updates at which an optimizer runs by itself; lengths that round to the same number are run once."""
        fracs = PEER_FRACS
        if optimizer == self.reference:
            fracs = self.length_fracs if len(self.optimizers) == 1 else (*self.length_fracs, *FURTHER_FRACS)
        return sorted({max(1, round(frac * task.steps)) for frac in fracs} | {task.steps})

    def alone_cells(self, task: Task, optimizer: str, recipes: Recipes) -> dict[tuple[int, int], Cell]:
        """Runs of an optimizer without jumps, by (length in updates, seed)."""
        arm = self.alone(optimizer)
        recipe = arm.recipe(recipes[task.workload, arm.name])
        return {
            (steps, seed): self.cell(task, arm, seed, steps, recipe)
            for steps in self.lengths(task, optimizer)
            for seed in self.seeds
        }

    def arm_cells(self, task: Task, arm: Arm, recipes: Recipes) -> dict[int, Cell]:
        """Runs of any other arm, by the seed of the baseline's run that each is paired with."""
        recipe, steps = arm.recipe(recipes[task.workload, arm.like]), arm.trained_steps(task.steps)
        return {seed: self.cell(task, arm, seed, steps, recipe) for seed in self.seeds}

    def cells(self, recipes: Recipes, bests: Bests) -> list[Cell]:
        """All cells, in the order of interest: optimizers by themselves and methods first."""
        found: list[Cell] = []
        for task in self.tasks:
            alone = {self.alone(one).name: one for one in self.optimizers}
            for arm in self.arms_on(bests.get(task.workload)):
                is_alone = arm.name in alone
                cells = self.alone_cells(task, alone[arm.name], recipes) if is_alone else {}
                found += cells.values() if is_alone else self.arm_cells(task, arm, recipes).values()
        return found

    def clocked_cells(self, recipes: Recipes, bests: Bests, num_seeds: int) -> list[Cell]:
        """The cells that wall-clock ratios need, of the first seeds: at T, optimizers, methods and what shadows one."""
        found: list[Cell] = []
        for task in self.tasks:
            arms = self.arms_on(bests.get(task.workload))
            alone = [self.alone(one).name for one in self.optimizers]
            timed = [arm for arm in arms if arm.like not in alone or arm.name in alone]
            pairs = [self.arm_cells(task, arm, recipes) for arm in timed]
            found += [cells[seed] for seed in self.seeds[:num_seeds] for cells in pairs]
        return found
