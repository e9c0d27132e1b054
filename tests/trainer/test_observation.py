"""Steps are observed a cycle at a time: nothing waits for the device in between, and both ways decide the same."""

import copy
import math
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of
from references.records import events_of
from references.same import assert_same

from hpt import HybridTrainer, Phase
from hpt.errors import TrainingDiverged
from hpt.profile.transfers import counted_reads
from hpt.records import JumpRecord, Record, StepRecord
from hpt.trainer import rollback

WHOLE_RUN: dict[str, Any] = {
    "gate": "always",
    "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0},
}


def sgd(problem: Problem) -> Problem:
    """With an optimizer that reads no number of its own (torch's Adam reads its step counters on the host)."""
    problem.optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.01, momentum=0.5)
    problem.scheduler = torch.optim.lr_scheduler.LambdaLR(problem.optimizer, lambda step: 1.0 - step / 400)
    return problem


def build(problem: Problem, observe: str, records: list[Record] | None = None, **settings: Any) -> HybridTrainer:
    update = {"observe": observe, "clip_norm": 1.0} | settings.pop("update", {})
    return problem.trainer(records, update=update, **WHOLE_RUN | settings)


@pytest.mark.parametrize("predictor", ["rssm", "nesterov"])
@pytest.mark.parametrize("parts", [1, 3])
def test_both_ways_of_reading_decide_the_same(predictor: str, parts: int) -> None:
    """Weights, losses, jumps and the records of all steps agree to the last bit, micro-batches included."""
    runs: dict[str, tuple[torch.Tensor, list[Any], list[Any]]] = {}
    for observe in ("step", "cycle"):
        problem, records = teacher(dropout=0.1), list[Record]()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(3)
            trainer = build(problem, observe, records, predictor=predictor, update={"accumulation_steps": parts})
            while trainer.num_updates < 120:
                trainer.step(problem.batch(trainer.num_calls))
            trainer.finish()
        steps = [(r.step, r.call, r.phase, r.loss, r.grad_norm) for r in records if isinstance(r, StepRecord)]
        jumps = [(r.step, r.verdict, r.norm, r.forecast_loss) for r in records if isinstance(r, JumpRecord)]
        runs[observe] = weights_of(problem.model), steps, jumps
    assert torch.equal(runs["step"][0], runs["cycle"][0])
    assert runs["step"][1] == runs["cycle"][1]
    assert runs["step"][2] == runs["cycle"][2]
    assert len(runs["cycle"][2]) >= 5


@pytest.mark.parametrize("predictor", ["rssm", "nesterov", "none"])
def test_a_full_step_reads_nothing_and_a_cycle_three_things(predictor: str) -> None:
    """No number leaves a tensor in FULL; a whole cycle needs its rows, its inner products and its jump's length.

    Probes read their losses, and those are counted apart: one or two forwards of each jump.
    """
    problem = sgd(teacher())
    trainer = build(problem, "cycle", predictor=predictor, learner={"enabled": False})
    for _ in range(45):
        trainer.step(problem.batch(trainer.num_calls))
    in_full, by_cycle, probes = [], [0], 0
    with counted_reads() as so_far:
        for _ in range(120):
            position, before, phase = trainer._c.controller.cycle_position, so_far(), trainer.phase
            probed = trainer.summary()["counters"]["probe_forwards"]
            trainer.step(problem.batch(trainer.num_calls))
            probes = trainer.summary()["counters"]["probe_forwards"] - probed
            by_cycle[-1] += so_far() - before - min(probes, 2)
            if phase is Phase.FULL and position < 9:
                in_full.append(so_far() - before)
            if position == 9 or predictor == "none":
                by_cycle.append(0)
    assert max(in_full) == 0
    assert max(by_cycle) <= 3
    assert trainer.summary()["counters"]["jumps_accepted"] >= (0 if predictor == "none" else 5)


def test_a_loss_can_be_read_at_any_time() -> None:
    """At once, or after the run: the same number, which `update.observe = "step"` would have given."""
    losses: dict[str, list[float]] = {}
    for way in ("at once", "late", "step"):
        problem = teacher()
        trainer = build(problem, "step" if way == "step" else "cycle")
        results = [trainer.step(problem.batch(trainer.num_calls)) for _ in range(60)]
        losses[way] = [result.loss for result in results]
    assert losses["at once"] == losses["late"] == losses["step"]


@pytest.mark.parametrize("predictor", ["rssm", "mlp", "nesterov"])
def test_nothing_undone_is_remembered_anywhere(predictor: str) -> None:
    """Half a cycle is made and rolled back: every observer is, bit for bit, what it was before that half."""
    problem = teacher()
    trainer = build(problem, "step", predictor=predictor, predict={"window_start_frac": 0.95, "window_end_frac": 1.0})
    problem.run(trainer, 60)
    names = {"predictor", "outer", "history", "gate", "residuals", "trend"}
    before = {name: copy.deepcopy(part.state_dict()) for name, part in trainer._c.stateful() if name in names}
    for _ in range(7):
        trainer.step(problem.batch(trainer.num_calls))
    rollback.roll_back(trainer._c, "planned")
    after = {name: part.state_dict() for name, part in trainer._c.stateful() if name in names}
    assert set(after) == names
    assert_same(after, before)
    assert trainer.num_updates == 60


@pytest.mark.parametrize("at", [4, 44])
def test_what_is_not_finite_is_undone_at_the_end_of_its_cycle(at: int) -> None:
    """Read once a cycle, a batch of NaN costs the cycle it is in and nothing else, in the first cycle too."""
    problem, records = teacher(norm=True), list[Record]()
    trainer = build(problem, "cycle", records, predict={"window_start_frac": 0.95, "window_end_frac": 1.0})
    inner = problem.batch
    problem.batch = lambda index: (inner(index)[0] * math.nan, inner(index)[1]) if index == at else inner(index)
    while trainer.num_calls < 50:
        trainer.step(problem.batch(trainer.num_calls))
    (event,) = events_of(records)
    assert (event.name, event.data["steps_lost"]) == ("rolled_back", 10)
    assert weights_of(problem.model).isfinite().all()
    assert all(one.isfinite().all() for one in problem.model.buffers())
    assert trainer.num_updates == 40


def test_three_such_cycles_in_a_row_end_the_run() -> None:
    """The data, or the rate, is broken for good, and the message says so."""
    problem = teacher()
    trainer = build(problem, "cycle")
    inner = problem.batch
    problem.batch = lambda index: (inner(index)[0] * math.nan, inner(index)[1])
    for _ in range(29):
        trainer.step(problem.batch(trainer.num_calls))
    with pytest.raises(TrainingDiverged, match="3 cycles in a row were not finite at update 0"):
        trainer.step(problem.batch(trainer.num_calls))
