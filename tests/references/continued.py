"""Runs that go on twice from a checkpoint: as if it had not been written, and loaded in a process that knows nothing.

The losses of both are compared to the last bit. One process loads the checkpoints of all cases, one after the other.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from references.fresh_process import run_fresh
from references.problems import Problem

from hpt import HybridTrainer

Make = Callable[[str, Path], tuple[Problem, HybridTrainer]]
"""Problem and trainer of a case, given where its checkpoint is, or is to be."""
Continued = dict[str, tuple[list[str], list[str]]]
"""Losses in hexadecimal by case: of the run itself, and of the loaded one."""


def in_a_new_process(cases: Sequence[str], folder: Path, saved: Make, module: str, calls: int = 50) -> Continued:
    """The next losses of every case.

    Args:
        cases: names.
        folder: for the checkpoints.
        saved: makes a run, brings it to its place and writes the checkpoint.
        module: its function `resumed`, a `Make`, makes the run again and loads.
        calls: how many losses.
    """
    paths = [folder / f"{place}.ckpt" for place in range(len(cases))]
    here = [losses_of(*saved(case, path), calls) for case, path in zip(cases, paths, strict=True)]
    done = run_fresh("references.continued:write_losses", module, list(cases), paths, calls)
    assert done.returncode == 0, done.stderr
    there = [line.split() for line in done.stdout.splitlines()]
    return dict(zip(cases, zip(here, there, strict=True), strict=True))


def losses_of(problem: Problem, trainer: HybridTrainer, calls: int) -> list[str]:
    """Losses of the next calls, exact."""
    return [trainer.step(problem.batch(trainer.num_calls)).loss.hex() for _ in range(calls)]


def write_losses(module: str, cases: Sequence[str], paths: Sequence[Path], calls: int) -> int:
    """Load and go on with every case; a line of losses each."""
    resumed: Make = import_module(module).resumed
    for case, path in zip(cases, paths, strict=True):
        sys.stdout.write(" ".join(losses_of(*resumed(case, path), calls)) + "\n")
    return 0
