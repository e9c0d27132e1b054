"""What a user's loss function may do with its batch, its model and the world, without a jump leaving a trace of it."""

import random
from collections import UserDict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from references.forking import Forking
from references.problems import Problem, teacher, weights_of
from references.records import events_of
from torch import nn

from hpt import HybridTrainer, Phase
from hpt.errors import OutOfMemory
from hpt.jump.policy import NONE
from hpt.records import EventRecord, ForkRecord, JumpRecord, Record

SETTINGS: dict[str, Any] = {"gate": "always", "probe": {"batches": 3, "budget_frac": 1.0}}
Pair = tuple[torch.Tensor, torch.Tensor]


def mse(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.mse_loss(model(x), y)


def popping(model: nn.Module, batch: Any) -> torch.Tensor:
    labels = batch.pop("labels")
    return mse(model, batch.pop("x"), labels)


def emptying(model: nn.Module, batch: Any) -> torch.Tensor:
    y = batch.pop()
    return mse(model, batch.pop(), y)


def blanking(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch.x, batch.inner["y"].pop()
    batch.x = None
    return mse(model, x, y)


def replacing(model: nn.Module, batch: Any) -> torch.Tensor:
    batch["x"], batch["labels"] = batch["x"] * 0.5, batch["labels"]
    return mse(model, 2.0 * batch["x"], batch["labels"])


GREEDY: dict[str, tuple[Callable[[Pair], Any], Callable[[nn.Module, Any], torch.Tensor]]] = {
    "pop from a dictionary": (lambda pair: {"x": pair[0], "labels": pair[1]}, popping),
    "pop from an encoding": (lambda pair: UserDict({"x": pair[0], "labels": pair[1]}), popping),
    "pop from a list": (list, emptying),
    "attributes blanked": (lambda pair: SimpleNamespace(x=pair[0], inner={"y": [pair[1]]}), blanking),
    "entries replaced": (lambda pair: {"x": pair[0], "labels": pair[1]}, replacing),
}


def forking(*at: int) -> Forking:
    """Jumps, and forks over two policies at these updates."""
    return Forking(at, ("full", "half"), 1, 10, plays="full")


def with_batches(convert: Callable[[Pair], Any], loss_fn: Callable[..., torch.Tensor], **kind: Any) -> Problem:
    """The usual problem on other batches and another loss function."""
    problem = teacher(**kind)
    inner = problem.batch
    problem.batch, problem.loss_fn = lambda index: convert(inner(index)), loss_fn
    return problem


def names(records: list[Record]) -> list[str]:
    return [one.name for one in events_of(records)]


def jumps(records: list[Record]) -> list[tuple[Any, ...]]:
    return [(one.loss_before, one.loss_after, one.norm) for one in records if isinstance(one, JumpRecord)]


@pytest.mark.parametrize("name", GREEDY)
def test_a_loss_that_plunders_its_batch_trains_as_one_that_does_not(name: str) -> None:
    """Losses, jumps, weights of paired probes equal those on plain pairs; forks need batches that can be stored."""
    convert, loss_fn = GREEDY[name]
    at = [] if name in {"pop from an encoding", "attributes blanked"} else [60]
    plain, greedy = teacher(dropout=0.1), with_batches(convert, loss_fn, dropout=0.1)
    expected, records = list[Record](), list[Record]()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        losses = plain.run(plain.trainer(expected, forking(*at), **SETTINGS), 110)
        torch.default_generator.manual_seed(1)
        assert greedy.run(greedy.trainer(records, forking(*at), **SETTINGS), 110) == losses
    assert jumps(records) == jumps(expected) != []
    forks = [one for one in records if isinstance(one, ForkRecord)]
    assert forks == [one for one in expected if isinstance(one, ForkRecord)]
    assert len(forks) == 2 * len(at)
    assert names(records) == []
    assert torch.equal(weights_of(greedy.model), weights_of(plain.model))


def test_the_plain_loop_shows_the_caller_what_the_loss_did() -> None:
    """With no predictor, and in every full step with one, the batch is the caller's own; a jump leaves it whole."""
    choices: list[dict[str, Any]] = [{"predictor": "none"}, SETTINGS]
    for settings in choices:
        problem = with_batches(lambda pair: {"x": pair[0], "labels": pair[1]}, popping)
        trainer = problem.trainer(**settings)
        for _ in range(60):
            batch = problem.batch(trainer.num_calls)
            result = trainer.step(batch)
            assert set(batch) == ({"x", "labels"} if result.phase is Phase.PREDICT else set())


def doubling(model: nn.Module, batch: Pair) -> torch.Tensor:
    return mse(model, batch[0].mul_(2), batch[1])


@pytest.mark.parametrize("batches", [1, 3])
def test_a_loss_that_changes_its_inputs_in_place_is_probed_on_what_came(batches: int) -> None:
    """Full steps and jumps equal those of a loss that doubles a copy; kept batches are no longer what they were."""
    settings: dict[str, Any] = {"gate": "always", "probe": {"batches": batches, "budget_frac": 1.0}}
    plain, changing = (with_batches(tuple, one) for one in (lambda net, pair: mse(net, pair[0] * 2, pair[1]), doubling))
    expected, records = list[Record](), list[Record]()
    alone = {"batches": 1, "budget_frac": 1.0}
    losses = plain.run(plain.trainer(expected, gate="always", probe=alone), 80)
    trainer = changing.trainer(records, **settings)
    assert changing.run(trainer, 80) == losses
    assert jumps(records) == jumps(expected) != []
    x, y = changing.batch(trainer.num_calls)
    before = x.clone()
    phase = trainer.step((x, y)).phase
    assert torch.equal(x, before if phase is Phase.PREDICT else 2 * before)


def test_a_fork_over_batches_changed_in_place_is_dropped() -> None:
    """The second branch would see other inputs; the run goes on as if no fork had been opened, and says why."""
    changing, records = with_batches(tuple, doubling), list[Record]()
    trainer = changing.trainer(records, forking(60), gate="always")
    changing.run(trainer, 120)
    assert any("changed in place" in one.message for one in records if isinstance(one, EventRecord))
    assert not [one for one in records if isinstance(one, ForkRecord)]
    assert trainer.summary()["counters"]["jumps_accepted"] > 0


def reading(model: nn.Module, batch: Iterator[torch.Tensor]) -> torch.Tensor:
    return mse(model, next(batch), next(batch))


def full_steps(problem: Problem, updates: int) -> list[float]:
    return problem.run(problem.trainer(predictor="none"), updates)


def loader(problem: Problem) -> Iterator[Pair]:
    index = 0
    while True:
        yield problem.batch(index)
        index += 1


@pytest.mark.parametrize("kind", ["generator", "iterator in a dictionary", "read by the loss itself"])
def test_batches_that_can_be_read_once_make_full_steps(kind: str) -> None:
    """The run is the plain loop, bit for bit, no datum is lost, and two events say so once each."""
    expected, records = full_steps(teacher(), 60), list[Record]()
    if kind == "generator":
        problem = with_batches(lambda pair: (one for one in pair), reading)
    elif kind == "iterator in a dictionary":
        problem = with_batches(lambda pair: {"rows": [iter(pair)]}, lambda net, batch: reading(net, batch["rows"][0]))
    else:
        data = loader(teacher())
        problem = with_batches(lambda _: None, lambda net, _: mse(net, *next(data)))
    assert problem.run(problem.trainer(records, **SETTINGS), 60) == expected
    assert names(records) == ["batch_spent", "jumps_off"]
    assert jumps(records) == []


def starving(loss_fn: Callable[..., torch.Tensor], at: int) -> Callable[..., torch.Tensor]:
    """Runs out of memory in one call, after the batch was used."""
    calls = 0

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = loss_fn(model, batch)
        if calls == at:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")
        return value

    return loss


def test_an_update_is_run_again_on_the_batch_as_it_came() -> None:
    """Keys taken out before memory ran out are there again; the losses are those without the fault."""
    convert, loss_fn = GREEDY["pop from a dictionary"]
    expected = full_steps(teacher(), 40)
    problem, records = with_batches(convert, starving(loss_fn, 31)), list[Record]()
    assert problem.run(problem.trainer(records, warmup_steps=200), 40) == expected
    assert names(records) == ["out_of_memory"]


@pytest.mark.parametrize("kind", ["in place", "generator"])
def test_an_update_that_cannot_be_run_again_says_so(kind: str) -> None:
    """Out of memory with a batch that was used up ends in an error that names the reason."""
    convert, loss_fn = (tuple, doubling) if kind == "in place" else ((lambda pair: (one for one in pair)), reading)
    problem = with_batches(convert, starving(loss_fn, 31))
    with pytest.raises(OutOfMemory, match=r"at update 30 and it was not tried again, since (a tensor of )?the batch"):
        problem.run(problem.trainer(warmup_steps=200), 40)


def penalised(model: nn.Module, pair: Pair) -> torch.Tensor:
    x = pair[0].requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return mse(model, x, pair[1]) + 0.01 * slope.square().mean()


def training_only(model: nn.Module, pair: Pair) -> torch.Tensor:
    loss = mse(model, *pair)
    return loss if model.training else [loss]  # type: ignore[return-value]


@pytest.mark.parametrize("loss_fn", [penalised, training_only])
def test_losses_that_need_more_than_a_forward_pass_are_jumped_with(loss_fn: Callable[..., torch.Tensor]) -> None:
    """Jumps are kept, one event says how probes are run, and a fork is settled."""
    problem, records = with_batches(tuple, loss_fn), list[Record]()
    trainer = problem.trainer(records, forking(60), **SETTINGS)
    losses = problem.run(trainer, 150)
    assert names(records) == ["probe_way"]
    assert trainer.summary()["counters"]["jumps_accepted"] >= 5
    assert [one for one in records if isinstance(one, ForkRecord)]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


@pytest.mark.parametrize("at", [(), (22,)])
def test_without_any_way_to_probe_jumps_are_off(at: tuple[int, ...]) -> None:
    """A loss that works in training steps alone: three attempts, one event, the plain loop; forks probe nothing."""
    expected, records, inside = full_steps(teacher(), 120), list[Record](), [False]

    def only_in_full_steps(model: nn.Module, pair: Pair) -> torch.Tensor:
        if not inside[0]:
            raise ValueError("nothing to probe here")
        return mse(model, *pair)

    problem = with_batches(tuple, only_in_full_steps)
    own = Forking(at, plays="full", settles=lambda _: NONE)
    trainer = problem.trainer(records, own, gate="always")
    run = trainer._c.full.run

    def marked(batch: Any) -> Any:
        inside[0] = True
        try:
            return run(batch)
        finally:
            inside[0] = False

    trainer._c.full.run = marked  # type: ignore[method-assign]
    assert problem.run(trainer, 120) == expected
    assert names(records) == ["probe_failed"] * 3 + ["jumps_off"]
    counters = trainer.summary()["counters"]
    assert counters["jumps_proposed"] == counters["jumps_rejected"] == 3
    assert len(own.outcomes) == len(at)


def mixing(draw: Callable[[], float]) -> Callable[..., torch.Tensor]:
    def loss(model: nn.Module, pair: Pair) -> torch.Tensor:
        weight = draw()
        return weight * mse(model, *pair) + (1 - weight) * mse(model, pair[0].flip(0), pair[1].flip(0))

    return loss


def numpy_draw() -> float:
    return float(np.random.random())  # noqa: NPY002


@pytest.mark.parametrize("draw", [random.random, numpy_draw, lambda: float(torch.rand(()))])
def test_streams_after_jumps_and_forks_are_where_the_plain_loop_has_them(draw: Callable[[], float]) -> None:
    """Draws in the loss and in the data pipeline: as many as there were calls with an update, none twice."""
    records = list[Record]()
    problem, seen = with_batches(tuple, mixing(draw)), list[float]()
    trainer = problem.trainer(records, forking(60), **SETTINGS)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.default_generator.manual_seed(5)
    full = 0
    while trainer.num_updates < 150:
        seen.append(draw())
        result = trainer.step(problem.batch(trainer.num_calls))
        full += result.phase is not Phase.PREDICT
    after = draw()
    assert jumps(records)
    assert [one for one in records if isinstance(one, ForkRecord)]
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.default_generator.manual_seed(5)
    expected = [draw() for _ in range(len(seen) + full + 1)]
    assert after == expected[-1]


def test_a_batch_whose_loss_reaches_no_weight_is_a_step_like_any_other() -> None:
    """As in the plain loop: the optimizer goes over it, the scheduler advances, the run goes on; one event."""

    def sometimes(model: nn.Module, pair: Pair) -> torch.Tensor:
        x, y = pair
        return mse(model, x, y) if float(x[0, 0]) > -1.0 else x.requires_grad_().square().mean()

    expected, records = full_steps(with_batches(tuple, sometimes), 60), list[Record]()
    problem = with_batches(tuple, sometimes)
    trainer = problem.trainer(records, warmup_steps=200, update={"clip_norm": 1e9})
    assert problem.run(trainer, 60) == expected
    assert names(records).count("no_gradient") == 1


class Collected(list[Record]):
    """A sink that is empty, hence false, at first."""

    def __call__(self, record: Record) -> None:
        self.append(record)


def test_a_sink_that_is_false_receives_the_records() -> None:
    """A list of its own that can be called."""
    problem, sink = teacher(), Collected()
    trainer = HybridTrainer(problem.model, problem.optimizer, problem.loss_fn, None, problem.scheduler, sink)
    problem.run(trainer, 3)
    assert len([one for one in sink if one.kind == "step"]) == 3
