"""How much is compared by default: workloads, their lengths, arms and seeds of each budget.

Lengths are chosen so that a cell of `standard` at T stays below 35 s on one thread of a 3 GHz core; the longest
baseline takes 1.6 T. Measured there, seconds an update, plain and hybrid: byte-gpt-b16 .0088 and .0098, byte-gpt .0299
and .0300, cnn .0038 and .0043, mlp .0009 and .0015, regression .0001 and .0008. The lengths of `full` are for one large
GPU and were not measured.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from hpt.compare.roster import QUICK, STANDARD
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


PEER_FRACS = (0.85, 1.0, 1.15, 1.3)
"""Lengths of an inner optimizer that is not the reference: what the hybrid on it gains or loses is read from them."""
FURTHER_FRACS = (2.0, 2.5)
"""Lengths of the reference besides, where others are compared with it that may be twice as fast."""
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
            Task("byte-gpt-1m", 1000),
            Task("byte-gpt-10m", 2000),
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
