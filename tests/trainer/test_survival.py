"""Are the weights broken, or did the data change? Only the first goes back, and only as far as it must."""

import copy
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of
from references.records import events_of
from references.same import assert_same
from torch import Tensor, nn

from hpt import HybridTrainer, Phase
from hpt.errors import TrainingDiverged
from hpt.records import EventRecord, Record

Change = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
SILENT: dict[str, Any] = {"warmup_steps": 10_000}  # no jumps


def constant(problem: Problem) -> Problem:
    """At a constant rate."""
    problem.scheduler = None
    return problem


def changed(problem: Problem, change: Change) -> Problem:
    """The same, with batches passed through a change(x, y, index)."""
    inner = problem.batch

    def batch(index: int) -> tuple[Tensor, Tensor]:
        x, y = inner(index)
        return change(x, y, index)

    problem.batch = batch
    return problem


def offset(problem: Problem, first: int, height: float) -> Problem:
    """A constant on the loss from call `first` on, which has no gradient."""
    inner, batch = problem.loss_fn, problem.batch
    problem.batch = lambda index: (batch(index), height if index >= first else 0.0)
    problem.loss_fn = lambda net, pair: inner(net, pair[0]) + pair[1]
    return problem


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after 300 updates, at the end of a cycle."""
    problem = constant(teacher(norm=True))
    trainer = problem.trainer(**SILENT)
    problem.run(trainer, 300)
    path = tmp_path_factory.mktemp("trained") / "run.ckpt"
    trainer.save(path)
    return path


def resumed(path: Path, records: list[Record], **settings: Any) -> tuple[Problem, HybridTrainer]:
    """The run that goes on from there."""
    problem = constant(teacher(norm=True))
    trainer = problem.trainer(records, **SILENT, **settings)
    trainer.load(path)
    return problem, trainer


def events(records: list[Record], *names: str) -> list[EventRecord]:
    found = events_of(records)
    return [one for one in found if one.name in names] if names else found


@cache
def plain_weights(change: Change, calls: int) -> Tensor:
    """Weights of the plain loop after so many calls."""
    problem = changed(constant(teacher()), change)
    trainer = problem.trainer(predictor="none")
    for index in range(calls):
        trainer.step(problem.batch(index))
    return weights_of(problem.model)


def orthogonal_task(x: Tensor, y: Tensor, index: int) -> tuple[Tensor, Tensor]:
    return x, x.sum(dim=1, keepdim=True) if index >= 250 else y


def tasks_in_turn(x: Tensor, y: Tensor, index: int) -> tuple[Tensor, Tensor]:
    return x, x.sum(dim=1, keepdim=True) if index // 43 % 2 else y


def bad_every_50th(x: Tensor, y: Tensor, index: int) -> tuple[Tensor, Tensor]:
    return x, y + 100.0 * torch.ones_like(y) if index % 50 == 49 else y


def hard_blocks(x: Tensor, y: Tensor, index: int) -> tuple[Tensor, Tensor]:
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(index))
    return x, y + 2.0 * noise if index // 30 % 2 else y


def larger_inputs(x: Tensor, y: Tensor, index: int) -> tuple[Tensor, Tensor]:
    return (3.0 * x, y) if index >= 250 else (x, y)


@pytest.mark.parametrize(
    ("change", "observe"),
    [
        (orthogonal_task, "step"),
        (orthogonal_task, "cycle"),
        (tasks_in_turn, "step"),
        (tasks_in_turn, "cycle"),
        (bad_every_50th, "step"),
        (hard_blocks, "step"),
        (larger_inputs, "cycle"),
    ],
)
def test_a_run_whose_data_change_is_the_plain_run(change: Change, observe: str) -> None:
    """Without jumps every weight is the plain loop's after 290 calls: nothing was undone.

    Questions cost at most 1 % of the run's work.
    """
    problem, records = changed(constant(teacher()), change), list[Record]()
    trainer = problem.trainer(records, **SILENT, update={"observe": observe})
    for index in range(290):
        trainer.step(problem.batch(index))
    assert events(records, "rolled_back") == []
    assert torch.equal(weights_of(problem.model), plain_weights(change, 290))
    assert trainer.summary()["counters"]["probe_forwards"] / 3 <= 0.01 * 290 + 4


@pytest.mark.parametrize("height", [3.0, 1000.0, -5.0])
def test_a_constant_on_the_loss_is_taken_for_the_new_level(height: float) -> None:
    """Told once, and the weights move as they do without it."""
    ends: list[Tensor] = []
    for rise in (height, 0.0):
        problem, records = offset(constant(teacher()), 200, rise), list[Record]()
        trainer = problem.trainer(records, **SILENT)
        problem.run(trainer, 250)
        ends.append(weights_of(problem.model))
        assert len(events(records, "data_changed")) == (1 if rise > 0.0 else 0)
        assert events(records, "rolled_back") == []
    assert torch.equal(*ends)


def step_until_back(problem: Problem, trainer: HybridTrainer, records: list[Record], most: int) -> None:
    """Step until the weights go back, in `most` calls at most."""
    for _ in range(most):
        trainer.step(problem.batch(trainer.num_calls))
        if events(records, "rolled_back"):
            return
    raise AssertionError(f"nothing went back in {most} calls")


def broken(model: nn.Module, how: str) -> None:
    """Break the weights in place."""
    weights = [one for one in model.parameters() if one.ndim == 2]
    with torch.no_grad():
        if how == "ten times":
            weights[-1].mul_(10.0)
        elif how == "another sign":
            weights[-1].neg_()
        elif how == "overflow":
            weights[-1].fill_(1e30)
        elif how == "not a number":
            weights[0][0, 0] = math.nan
        else:
            weights[0].copy_(torch.randn(weights[0].shape, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("updates", [301, 304, 308, 309])
@pytest.mark.parametrize("how", ["ten times", "another sign", "overflow", "not a number", "noise"])
def test_a_corrupted_layer_is_caught_within_three_losses(how: str, updates: int, trained: Path) -> None:
    """Wherever in a cycle it happens: weights, buffers and optimizer are those of the snapshot, bit for bit."""
    records = list[Record]()
    problem, trainer = resumed(trained, records)
    before = copy.deepcopy((problem.model.state_dict(), problem.optimizer.state_dict()))
    problem.run(trainer, updates)
    broken(problem.model, how)
    step_until_back(problem, trainer, records, 3)
    assert_same((problem.model.state_dict(), problem.optimizer.state_dict()), before)
    assert trainer.num_updates == 300


@pytest.mark.parametrize("observe", ["step", "cycle"])
def test_read_once_a_cycle_broken_weights_go_back_at_its_end(observe: str, trained: Path) -> None:
    """Read at every step they go back at once; either way to the same state."""
    records = list[Record]()
    problem, trainer = resumed(trained, records, update={"observe": observe})
    before = weights_of(problem.model)
    problem.run(trainer, 303)
    broken(problem.model, "ten times")
    made = 0
    while not events(records, "rolled_back"):
        trainer.step(problem.batch(trainer.num_calls))
        made += 1
    assert made == (3 if observe == "step" else 7)
    assert torch.equal(weights_of(problem.model), before)


@pytest.mark.parametrize("at", [302, 309])
@pytest.mark.parametrize("factor", [1e3, 1e5, 1e8])
def test_an_exploding_rate_is_caught_within_three_losses(factor: float, at: int, trained: Path) -> None:
    """Also when its first update is the last of a cycle, before which no loss has seen it."""
    records = list[Record]()
    problem, trainer = resumed(trained, records)
    before = weights_of(problem.model)
    problem.run(trainer, at)
    for group in problem.optimizer.param_groups:
        group["lr"] *= factor
    step_until_back(problem, trainer, records, 4)
    assert trainer.num_updates == 300
    assert torch.equal(weights_of(problem.model), before)


def test_a_rate_that_goes_on_exploding_is_retried_ever_lower_and_then_given_up() -> None:
    """Three retries, at a half, a quarter and an eighth of the rate; the message says what was seen and what to do."""
    problem, records = constant(teacher()), list[Record]()
    problem.scheduler = torch.optim.lr_scheduler.LambdaLR(problem.optimizer, lambda step: 1.0 if step < 305 else 1e5)
    trainer = problem.trainer(records, **SILENT)
    factors = set[float]()

    def run() -> None:
        while trainer.num_calls < 500:
            trainer.step(problem.batch(trainer.num_calls))
            factors.add(trainer._c.full.lr_factor)

    with pytest.raises(TrainingDiverged, match=r"(broken|not finite).*after 3 retries.*lower the learning rate"):
        run()
    assert factors == {1.0, 0.5, 0.25, 0.125}
    assert len(events(records, "rolled_back")) == 3


def test_breaks_that_are_far_apart_are_never_counted_together() -> None:
    """Four broken layers in one run, each mended; the run ends near the plain loop's loss."""
    problem, records = constant(teacher()), list[Record]()
    trainer = problem.trainer(records, **SILENT)
    for number in range(4):
        problem.run(trainer, 60 * number + 205)
        broken(problem.model, "ten times")
    losses = problem.run(trainer, 450)
    assert len(events(records, "rolled_back")) == 4
    plain = constant(teacher())
    expected = plain.run(plain.trainer(predictor="none"), 450)
    assert sum(losses[-50:]) < 2.0 * sum(expected[-50:])  # most steps were retries, at half the rate


class Counted(nn.Module):
    """Keeps a count of its passes in a buffer, and drops out."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.dropout = inner, nn.Dropout(0.2)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """The inner model's output, some of it dropped."""
        self.count = self.count + 1.0  # put in anew, not added in place
        return self.inner(self.dropout(x))


def test_a_question_leaves_nothing_behind() -> None:
    """Buffers that a forward replaces, dropout's random stream, optimizer: bit for bit those of the plain loop."""
    ends: list[Any] = []
    for predictor in ("nesterov", "none"):
        problem, records = offset(constant(teacher()), 200, 100.0), list[Record]()
        problem.model = Counted(problem.model)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(5)
            trainer = problem.trainer(records, predictor=predictor, **SILENT)
            problem.run(trainer, 230)
            ends.append((problem.model.state_dict(), problem.optimizer.state_dict(), torch.get_rng_state()))
        assert len(events(records, "data_changed")) == (predictor == "nesterov")
    for model, _, _ in ends:
        del model["count"]  # the plain loop has made fewer calls
    assert_same(ends[0], ends[1])


@pytest.mark.parametrize("height", [100.0, -100.0])
def test_a_change_of_the_data_in_correct_is_not_blamed_on_the_jump(height: float) -> None:
    """The loss leaves the band, but it does so without the jump as well: the jump stays, and is judged no more."""
    problem, records, now = teacher(), list[Record](), {"offset": 0.0}
    inner = problem.loss_fn
    problem.loss_fn = lambda net, pair: inner(net, pair) + now["offset"]
    trainer = problem.trainer(records, gate="always")
    while trainer.phase is not Phase.CORRECT:
        trainer.step(problem.batch(trainer.num_calls))
    now["offset"] = height
    for _ in range(3):
        trainer.step(problem.batch(trainer.num_calls))
    assert trainer.summary()["counters"]["jumps_rolled_back"] == 0
    assert len(events(records, "data_changed")) == (height > 0.0)
    assert trainer.phase is Phase.FULL


@pytest.mark.parametrize("factor", [-50.0, 100.0, 1e6])
def test_a_far_jump_that_no_probe_saw_is_undone_after_three_losses(factor: float) -> None:
    """The same batches are far better without it."""
    problem, records = constant(teacher()), list[Record]()
    trainer = problem.trainer(records, gate="always", probe={"max_rise_frac": 10.0})
    while trainer.num_updates < 100 or trainer.phase is not Phase.CORRECT:
        trainer.step(problem.batch(trainer.num_calls))
    snapshot = trainer.outer.snapshot
    assert snapshot is not None
    parameters = list(problem.model.parameters())
    with torch.no_grad():
        for one in parameters:
            one.add_(one - snapshot.kept(one), alpha=factor)
    before = torch.cat([snapshot.kept(one).reshape(-1).double() for one in parameters])
    for _ in range(3):
        assert events(records, "jump_rolled_back") == []
        trainer.step(problem.batch(trainer.num_calls))
    assert len(events(records, "jump_rolled_back")) == 1
    assert torch.equal(weights_of(problem.model), before)


def test_a_loss_that_cannot_be_had_again_is_recorded_and_no_reason_to_go_back() -> None:
    """One-shot batches: the question has no answer, so nothing is undone."""
    problem, records = offset(constant(teacher()), 200, 5.0), list[Record]()
    inner, whole = problem.loss_fn, problem.batch
    problem.batch = lambda index: (part for part in whole(index))
    problem.loss_fn = lambda net, parts: inner(net, tuple(parts))
    trainer = problem.trainer(records, **SILENT)
    for index in range(260):
        trainer.step(problem.batch(index))
    assert events(records, "rolled_back") == []
    (event,) = events(records, "data_changed")
    assert "the batch holds a generator, which can be read once" in event.message


def test_a_loss_that_falls_with_every_call_is_not_the_weights_doing() -> None:
    """The first look is at the present weights, and higher for that alone; the third says so."""
    problem, records = constant(teacher()), list[Record]()
    inner, calls = problem.loss_fn, {"n": 0}

    def annealed(net: nn.Module, pair: Any) -> Tensor:
        calls["n"] += 1
        return inner(net, pair) + (1e4 * 0.5 ** (calls["n"] - 200) if calls["n"] > 200 else 0.0)

    problem.loss_fn = annealed
    trainer = problem.trainer(records, **SILENT)
    for index in range(250):
        trainer.step(problem.batch(index))
    assert len(events(records, "data_changed")) >= 1
    assert events(records, "rolled_back") == []


def test_divergence_can_be_switched_off(trained: Path) -> None:
    """Then nobody asks: broken weights go on, as in the plain loop."""
    records = list[Record]()
    problem, trainer = resumed(trained, records, divergence={"enabled": False})
    problem.run(trainer, 303)
    broken(problem.model, "ten times")
    problem.run(trainer, 330)
    assert events(records) == []
    assert trainer.summary()["counters"]["probe_forwards"] == 0
