"""A checkpoint never depends on what a batch is made of; what a fork or an update needs of it comes back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from references import odd_batches
from references.continued import Continued, in_a_new_process
from references.forking import Forking
from references.odd_batches import KINDS, Unstorable, parts_of
from references.problems import Problem, teacher
from torch import Tensor, nn

from hpt import HybridTrainer, Phase
from hpt.records import Record

SETTINGS: dict[str, Any] = {
    "gate": "always",
    "update": {"accumulation_steps": 2},
    "probe": {"batches": 4, "budget_frac": 1.0},
}


def make(
    kind: Callable[[Tensor, Tensor], Any], records: list[Record] | None = None, **more: Any
) -> tuple[Problem, HybridTrainer]:
    problem = teacher(dropout=0.1)
    pair_of = problem.batch
    problem.batch = lambda index: kind(*pair_of(index))

    def loss_fn(net: nn.Module, batch: Any) -> Tensor:
        x, y = parts_of(batch)
        return nn.functional.mse_loss(net(x), y)

    problem.loss_fn = loss_fn
    own = Forking((60,), ("full",), 1, 10, plays="full")
    return problem, problem.trainer(records, own, **(SETTINGS | more))


def advance(problem: Problem, trainer: HybridTrainer, place: str) -> None:
    """To the middle of an update inside an open fork, or just before a paired probe."""
    for _ in range(400):
        fork = trainer._c.state.fork
        in_fork = fork is not None and fork.num_steps == 5 and trainer._c.full.accumulating
        if in_fork if place == "fork" else trainer.phase is Phase.PREDICT:
            return
        trainer.step(problem.batch(trainer.num_calls))
    raise AssertionError(f"{place} was never reached")


def resumed(case: str, path: Path) -> tuple[Problem, HybridTrainer]:
    problem, trainer = make(KINDS[case.partition(":")[0]])
    trainer.load(path)
    return problem, trainer


CASES = [*(f"{name}:fork" for name in KINDS), "packed:probe"]


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Continued:
    """Fifty losses after a place of a run, and fifty after the load of its checkpoint in a new process, by case."""

    def saved(case: str, path: Path) -> tuple[Problem, HybridTrainer]:
        name, _, place = case.partition(":")
        problem, trainer = make(KINDS[name])
        advance(problem, trainer, place)
        trainer.save(path)
        return problem, trainer

    return in_a_new_process(CASES, tmp_path_factory.mktemp("saved"), saved, "trainer.test_batches_in_checkpoints")


@pytest.mark.parametrize("case", CASES)
def test_batches_of_any_container_continue_bit_identically(case: str, continued: Continued) -> None:
    """Saved half-way through an update in a fork, or before a probe on four batches; then 50 losses anew."""
    here, there = continued[case]
    assert there == here


def _events(records: list[Record], name: str) -> list[Any]:
    return [one for one in records if getattr(one, "name", None) == name]


def test_automatic_checkpoints_are_written_whatever_the_batches_are(tmp_path: Path) -> None:
    """Three files of a run whose batches no file holds; said once; the resumed run jumps on."""
    records: list[Record] = []
    problem, trainer = make(Unstorable, records, checkpoint={"dir": str(tmp_path), "save_interval": 20})
    problem.run(trainer, 100)
    assert len(list(tmp_path.iterdir())) == 3
    assert trainer.summary()["counters"]["checkpoints_failed"] == 0
    assert len(_events(records, "batches_not_stored")) == 1
    assert len(_events(records, "fork_dropped")) == 1
    other, again = make(Unstorable)
    again.load(max(tmp_path.iterdir()))
    other.run(again, 160)
    before = trainer.summary()["counters"]["jumps_accepted"]
    assert again.summary()["counters"]["jumps_accepted"] > before


def test_a_class_that_is_not_imported_costs_the_fork_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on, its weights those of the file, and says what to import; calls and counters add up."""
    problem, trainer = make(KINDS["dataclass"])
    advance(problem, trainer, "fork")
    trainer.save(tmp_path / "run.ckpt")
    records: list[Record] = []
    other, again = make(KINDS["dataclass"], records)
    monkeypatch.delattr(odd_batches, "Example")
    again.load(tmp_path / "run.ckpt")
    (event,) = _events(records, "fork_dropped")
    assert "import the modules of their classes" in event.message
    assert all(torch.equal(*pair) for pair in zip(problem.model.parameters(), other.model.parameters(), strict=True))
    other.run(again, 150)
    counters = again.summary()["counters"]
    decided = counters["jumps_accepted"] + counters["jumps_rejected"]
    assert counters["jumps_proposed"] == decided
    assert counters["jumps_accepted"] >= 3


class Refusing(nn.Linear):
    """A module whose state cannot be had from some moment on."""

    broken = False

    def get_extra_state(self) -> dict[str, int]:
        if self.broken:
            raise OSError("its server is gone")
        return {"version": 1}

    def set_extra_state(self, state: Any) -> None:
        assert state == {"version": 1}


def test_a_checkpoint_that_fails_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    """Whatever a user's state_dict raises: an event and a count each time, an error when asked to save."""
    records: list[Record] = []
    problem = teacher()
    problem.model, problem.scheduler = nn.Sequential(Refusing(8, 1)), None
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.01)
    trainer = problem.trainer(records, checkpoint={"dir": str(tmp_path), "save_interval": 10})
    problem.run(trainer, 15)
    Refusing.broken = True
    try:
        problem.run(trainer, 45)
        with pytest.raises(OSError, match="server is gone"):
            trainer.save(tmp_path / "run.ckpt")
    finally:
        Refusing.broken = False
    assert trainer.summary()["counters"]["checkpoints_failed"] == len(_events(records, "checkpoint_failed")) == 3
