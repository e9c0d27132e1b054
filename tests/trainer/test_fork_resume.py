"""A run that is killed inside a fork goes on from its checkpoint as if nothing had happened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from references.forking import Forking
from references.problems import Problem, teacher, weights_of

from hpt import HybridTrainer
from hpt.records import EventRecord, ForkRecord, Record
from hpt.trainer import fork as fork_module

NUM_STEPS = 25  # one cycle with a jump and the settling time
SETTINGS: dict[str, Any] = {"gate": "always", "full_steps": 10}


def make(records: list[Record] | None = None, **settings: Any) -> tuple[Problem, HybridTrainer]:
    """Jumps at every cycle's end but one, where three policies are tried."""
    problem = teacher(dropout=0.1, norm=True)
    own = Forking((60,), ("half", "full-kept", "full"), 1, NUM_STEPS - 10, plays="half")
    return problem, problem.trainer(records, own, **(SETTINGS | settings))


def go_on(problem: Problem, trainer: HybridTrainer, calls: int) -> list[float]:
    return [trainer.step(problem.batch(trainer.num_calls)).loss for _ in range(calls)]


def into_fork(problem: Problem, trainer: HybridTrainer, num_steps: int) -> None:
    """To the call after which the fork's first branch has so many steps."""
    while trainer._c.state.fork is None or trainer._c.state.fork.num_steps < num_steps:
        trainer.step(problem.batch(trainer.num_calls))


PLACES = [0, 1, 9, 10, 11, 20, NUM_STEPS - 1]


@dataclass(frozen=True)
class Whole:
    """A run that was saved at some steps of its fork: files by step, losses by call, and what it came to."""

    saved: dict[int, Path]
    losses: list[float]
    forks: list[ForkRecord]
    weights: torch.Tensor
    counters: dict[str, float]


def come_to(problem: Problem, trainer: HybridTrainer, records: list[Record]) -> tuple[list[ForkRecord], Any, Any]:
    """Fork records, weights and counters."""
    forks = [one for one in records if isinstance(one, ForkRecord)]
    return forks, weights_of(problem.model), {**trainer.summary()["counters"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Up to sixty calls after the last place."""
    folder, records, losses = tmp_path_factory.mktemp("saved"), list[Record](), list[float]()
    problem, trainer = make(records)
    saved: dict[int, Path] = {}
    while len(saved) < len(PLACES):
        fork = trainer._c.state.fork
        if fork is not None and fork.num_steps in PLACES:
            saved[fork.num_steps] = folder / f"{fork.num_steps}.ckpt"
            trainer.save(saved[fork.num_steps])
        losses += go_on(problem, trainer, 1)
    losses += go_on(problem, trainer, 60)
    return Whole(saved, losses, *come_to(problem, trainer, records))


@pytest.mark.parametrize("num_steps", PLACES)
def test_saved_at_any_call_inside_a_fork_it_continues_to_the_bit(num_steps: int, whole: Whole) -> None:
    """Sixty losses, the fork's records and the weights: begun, at the ends of its cycles, before its last step."""
    records = list[Record]()
    problem, trainer = make(records)
    trainer.load(whole.saved[num_steps])
    left = whole.losses[trainer.num_calls :]
    assert go_on(problem, trainer, len(left)) == left
    forks, weights, counters = come_to(problem, trainer, records)
    assert torch.equal(weights, whole.weights)
    assert forks == whole.forks
    assert len(forks) == 3
    assert counters == whole.counters


def test_the_limit_on_batches_counts_those_from_before_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork that grows too large at its sixteenth step is dropped there, resumed or not."""
    problem, trainer = make()
    sizes = [sum(one.nbytes for one in problem.batch(index)) for index in range(2)]
    assert sizes[0] == sizes[1]
    monkeypatch.setattr(fork_module, "MAX_BATCH_BYTES", 15 * sizes[0])
    into_fork(problem, trainer, 10)
    trainer.save(tmp_path / "run.ckpt")
    expected = go_on(problem, trainer, 60)
    records = list[Record]()
    other, fresh = make(records)
    fresh.load(tmp_path / "run.ckpt")
    first = trainer.num_calls - 60
    assert go_on(other, fresh, 60) == expected
    (event,) = [one for one in records if isinstance(one, EventRecord) and one.name == "fork_dropped"]
    assert event.call == first + 15 - 10


def test_a_fork_under_accumulation_resumes_in_the_middle_of_an_update(tmp_path: Path) -> None:
    """One micro-batch of three is in; the fork is settled on whole updates all the same."""
    settings: dict[str, Any] = {"update": {"accumulation_steps": 3}}
    problem, trainer = make(**settings)
    into_fork(problem, trainer, 7)
    go_on(problem, trainer, 1)
    assert trainer._c.full.accumulating
    trainer.save(tmp_path / "run.ckpt")
    expected = go_on(problem, trainer, 120)
    records = list[Record]()
    other, fresh = make(records, **settings)
    fresh.load(tmp_path / "run.ckpt")
    assert go_on(other, fresh, 120) == expected
    assert len([one for one in records if isinstance(one, ForkRecord)]) == 3
