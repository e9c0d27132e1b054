"""What is compared: workloads and their lengths by budget, and the cells that a comparison consists of.

Lengths are chosen so that a cell of `standard` at T stays below 35 s on one thread of a 3 GHz core; the longest
baseline takes 1.6 T. Measured there, seconds an update, plain and hybrid: byte-gpt-b16 .0088 and .0098, byte-gpt .0299
and .0300, cnn .0038 and .0043, mlp .0009 and .0015, regression .0001 and .0008. The lengths of `full` are for one large
GPU and were not measured.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpt.compare.arms import BASELINE, QUICK, STANDARD, Arm
from hpt.compare.cells import Cell, Recipe
from hpt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Task:
    """A workload at a length: `steps` is T, net updates of the baseline that everything is measured against."""

    workload: str
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much is run when nothing else is said.

    Attributes:
        tasks: workloads and lengths.
        arms: names besides the baseline.
        length_fracs: baselines run at these shares of T; 1 is among them.
        num_seeds: paired seeds.
        device: None: wherever the user says, the CPU by default.
    """

    tasks: tuple[Task, ...]
    arms: tuple[str, ...]
    length_fracs: tuple[float, ...]
    num_seeds: int
    device: str = "cpu"


ALL_LENGTHS = (0.7, 0.85, 1.0, 1.15, 1.3, 1.6)
BUDGETS: dict[str, Budget] = {
    "quick": Budget(
        tasks=(Task("mlp", 2000), Task("cnn", 600), Task("regression", 600)),
        arms=QUICK,
        length_fracs=(0.7, 1.0, 1.3, 1.6),
        num_seeds=3,
    ),
    "standard": Budget(
        tasks=(
            Task("byte-gpt-b16", 2000),
            Task("byte-gpt", 1100),
            Task("cnn", 2500),
            Task("mlp", 6000),
            Task("regression", 600),
        ),
        arms=STANDARD,
        length_fracs=ALL_LENGTHS,
        num_seeds=3,
    ),
    "full": Budget(
        tasks=(
            Task("byte-gpt-b16", 5000),
            Task("byte-gpt", 2500),
            Task("byte-gpt-large", 3000),
            Task("gpt2-b32", 500),
            Task("cnn", 2500),
            Task("mlp", 6000),
        ),
        arms=STANDARD,
        length_fracs=ALL_LENGTHS,
        num_seeds=3,
        device="cuda",
    ),
}


def tasks_of(names: str | None, budget: Budget) -> list[Task]:
    """Workloads from a comma-separated list of names, each with `=STEPS` or at the budget's length.

    Raises:
        UsageError: a name is given twice, a length is no positive number, or one has no length.
    """
    if names is None:
        return list(budget.tasks)
    lengths = {task.workload: task.steps for other in BUDGETS.values() for task in other.tasks}
    lengths |= {task.workload: task.steps for task in budget.tasks}
    tasks = [_task(part.strip(), lengths) for part in names.split(",") if part.strip()]
    seen = [task.workload for task in tasks]
    twice = next((name for name in seen if seen.count(name) > 1), None)
    if twice is not None or not tasks:
        raise UsageError(f"--workloads is {names!r}; it must name each workload once, and at least one")
    return tasks


def _task(part: str, lengths: Mapping[str, int]) -> Task:
    name, given, text = part.partition("=")
    if not given:
        if name in lengths:
            return Task(name, lengths[name])
        near = difflib.get_close_matches(name, lengths, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"give its length, {name}=1000"
        raise UsageError(f"--workloads names {name!r}, whose length no budget knows; {hint}")
    if not text.isdecimal() or int(text) < 2:
        raise UsageError(f"--workloads says {part!r}, but a length is a number of updates of at least 2; change it")
    return Task(name, int(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPlan:
    """Everything that a comparison runs.

    Attributes:
        tasks: workloads and lengths.
        arms: the baseline first.
        seeds: of the pairs.
        length_fracs: shares of T at which baselines run.
        data: for the text workloads.
        device: of every cell; dtype: of its forward pass; threads: of torch.
    """

    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    length_fracs: tuple[float, ...]
    data: str | None = None
    device: str = "cpu"
    dtype: str = "none"
    threads: int = 1

    def cell(self, task: Task, arm: Arm, seed: int, steps: int, recipe: Recipe) -> Cell:
        """The cell of an arm on a pair's seed."""
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

    def baseline_cells(self, task: Task, tuned: Recipe) -> dict[tuple[int, int], Cell]:
        """By length in updates and seed; lengths that round to the same number are run once."""
        arm = next(arm for arm in self.arms if arm.name == BASELINE)
        lengths = sorted({max(1, round(frac * task.steps)) for frac in self.length_fracs} | {task.steps})
        recipe = arm.recipe(tuned)
        return {(steps, seed): self.cell(task, arm, seed, steps, recipe) for steps in lengths for seed in self.seeds}

    def arm_cells(self, task: Task, arm: Arm, tuned: Recipe) -> dict[int, Cell]:
        """By the pair's seed."""
        recipe, steps = arm.recipe(tuned), arm.trained_steps(task.steps)
        return {seed: self.cell(task, arm, seed, steps, recipe) for seed in self.seeds}

    def cells(self, settings: Mapping[tuple[str, str], Recipe]) -> list[Cell]:
        """All cells; `settings` holds tuned recipes by (workload, arm).

        The order is the one of interest: baselines at T and methods first, so that an early stop can be read.
        """
        found: list[Cell] = []
        for task in self.tasks:
            found += self.baseline_cells(task, settings[task.workload, BASELINE]).values()
            for arm in self.arms:
                if arm.name != BASELINE:
                    found += self.arm_cells(task, arm, settings[task.workload, arm.like]).values()
        return found

    def clocked_cells(self, settings: Mapping[tuple[str, str], Recipe], num_seeds: int) -> list[Cell]:
        """The cells that wall-clock ratios need, of the first seeds: baseline at T, methods, and what shadows one."""
        found: list[Cell] = []
        for task in self.tasks:
            base = self.baseline_cells(task, settings[task.workload, BASELINE])
            arms = [arm for arm in self.arms if arm.like != BASELINE]
            pairs = [self.arm_cells(task, arm, settings[task.workload, arm.like]) for arm in arms]
            for seed in self.seeds[:num_seeds]:
                found += [base[task.steps, seed], *(cells[seed] for cells in pairs)]
        return found

    def tuned_arms(self) -> Sequence[Arm]:
        """The arms that get tuning trials; the controls follow them."""
        return [arm for arm in self.arms if arm.is_tuned]
