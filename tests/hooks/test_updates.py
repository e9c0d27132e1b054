"""A loop with jumps attached makes the jumps of `HybridTrainer`, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from references.forking_prior import forking_prior
from references.host_loop import SETTINGS, Loop, trainer_on_the_same
from references.problems import Problem, pure_noise, teacher, weights_of
from references.records import events_of
from references.same import assert_same
from torch import nn
from torch.optim import SGD, AdamW, Muon
from torch.optim.lr_scheduler import LinearLR

from hpt.jump.policy import NUM_POLICIES
from hpt.profile.transfers import counted_reads

RSSM: dict[str, Any] = {"predictor": "rssm", "predict": {**SETTINGS["predict"], "policy": None}}


def listed(problem: Problem) -> list[torch.optim.Optimizer]:
    """Muon on the matrices and AdamW on the rest."""
    matrices = [one for one in problem.model.parameters() if one.ndim == 2]
    rest = [one for one in problem.model.parameters() if one.ndim != 2]
    return [Muon(matrices, lr=1e-3), AdamW(rest, lr=3e-3)]


@pytest.mark.parametrize(
    ("settings", "observes"),
    [
        ({"predictor": "prior"}, False),
        ({"predictor": "prior", "gate": "earned"}, True),
        ({"predictor": "prior", "predict": SETTINGS["predict"] | {"policy": "half-kept"}}, False),
        ({"predictor": "rssm"}, True),
        ({"predictor": "nesterov"}, True),
        ({"predictor": "nesterov"}, False),
    ],
    ids=["prior-silent", "prior-earned", "policy", "rssm", "nesterov", "nesterov-silent"],
)
def test_weights_are_those_of_the_trainer(settings: dict[str, Any], observes: bool) -> None:
    """On the same batches, to the last bit, under a schedule, jump for jump."""
    problem = teacher()
    trainer = trainer_on_the_same(problem, 155, **settings)
    loop = Loop(observes=observes).attach(**settings).run(155)
    assert torch.equal(weights_of(loop.problem.model), weights_of(problem.model))
    assert_same(loop.problem.optimizer.state_dict()["state"], problem.optimizer.state_dict()["state"])
    assert len(loop.jumped) == trainer.summary()["counters"]["jumps_accepted"] >= 5


def test_a_list_of_optimizers_is_that_of_the_trainer() -> None:
    """Muon on the matrices, AdamW on the rest: one update is a step of each."""
    problem, mine = teacher(), teacher()
    problem.scheduler = mine.scheduler = None
    problem.optimizer = listed(problem)  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainer_on_the_same(problem, 95)
    loop = Loop(mine, listed(mine)).attach().run(95)
    assert torch.equal(weights_of(mine.model), weights_of(problem.model))
    assert len(loop.jumped) == trainer.summary()["counters"]["jumps_accepted"] >= 5


@pytest.mark.parametrize("predictor", ["nesterov", "rssm"])
def test_micro_batches_are_those_of_the_trainer(predictor: str) -> None:
    """Two in an update, their losses added as they were back-propagated."""
    problem = teacher()
    trainer = trainer_on_the_same(problem, 95, parts=2, predictor=predictor)
    loop = Loop(parts=2).attach(predictor=predictor).run(95)
    assert torch.equal(weights_of(loop.problem.model), weights_of(problem.model))
    assert len(loop.jumped) == trainer.summary()["counters"]["jumps_accepted"] >= 5


def test_the_loss_of_an_update_is_the_sum_of_what_was_shown() -> None:
    """Losses of two halves, each over two: the trend's level is that of the mean."""
    loops = [Loop(parts=parts).attach() for parts in (1, 2)]
    losses = []
    for loop in loops:
        loop.problem.loss_fn = lambda net, pair: net(pair[0]).sum() * 0.0 + 3.0
        loop.run(10)
        assert loop.jumps is not None
        assert loop.jumps._run is not None
        losses.append(loop.jumps._run.history.past_losses.tolist())
    assert losses[0] == losses[1] == [3.0] * 10


def test_where_nothing_pays_the_loop_is_the_plain_one(tmp_path: Path) -> None:
    """The prior says none: weights are those of the loop without hpt, bit for bit."""
    with forking_prior(tmp_path, means=[-0.1] * NUM_POLICIES, spread=1e-4):
        plain, loop = Loop(teacher()).run(120), Loop(teacher()).attach(predictor="prior").run(120)
    assert loop.jumps is not None
    assert loop.jumped == []
    assert "no jumps" in str(loop.jumps.summary()["why"])
    assert torch.equal(weights_of(loop.problem.model), weights_of(plain.problem.model))


def test_nothing_is_replaced_and_no_step_is_added() -> None:
    """Memory of the weights, class of the optimizer, number of steps and of the schedule's."""
    loop, calls = Loop(), []
    parameters = list(loop.problem.model.parameters())
    pointers, kind = [one.data_ptr() for one in parameters], type(loop.problem.optimizer)
    loop.problem.optimizer.register_step_post_hook(lambda *_: calls.append(1))
    loop.attach().run(100)
    assert [one.data_ptr() for one in parameters] == pointers
    assert type(loop.problem.optimizer) is kind
    assert isinstance(loop.problem.optimizer, torch.optim.AdamW)
    assert len(calls) == 100
    assert loop.problem.scheduler is not None
    assert loop.problem.scheduler.last_epoch == 100
    assert len(loop.jumped) == 8


@pytest.mark.parametrize("observes", [True, False])
def test_nothing_leaves_the_device_between_the_ends_of_cycles(observes: bool) -> None:
    """No number is read in the updates of a cycle but the last, and the third after a jump."""
    problem = teacher()
    problem.optimizer, problem.scheduler = SGD(problem.model.parameters(), lr=0.01, momentum=0.5), None
    loop = Loop(problem, observes=observes).attach().run(40)
    reads: list[int] = []
    with counted_reads() as so_far:
        for _ in range(60):
            before = so_far()
            loop.update()
            reads.append(so_far() - before)
    places = {place for place, number in enumerate(reads, start=1) if number}
    assert {place % 10 for place in places} <= {0, 3}
    assert len(loop.jumped) == 8


@pytest.mark.parametrize("predictor", ["prior", "nesterov", "rssm"])
def test_where_nothing_falls_nothing_jumps(predictor: str) -> None:
    """Gradients of pure noise, losses shown: the run has earned no jump, and is the plain one."""
    plain, loop = Loop(pure_noise()), Loop(pure_noise()).attach(predictor=predictor, gate="earned")
    plain.run(100)
    loop.run(100)
    assert loop.jumped == []
    assert torch.equal(weights_of(loop.problem.model), weights_of(plain.problem.model))


def test_losses_that_are_not_finite_are_left_to_the_loop() -> None:
    """No jump was made: weights are those of the plain loop, and it is told once."""

    def broken(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = teacher().batch(index)
        return (x * torch.nan if index in (3, 15) else x), y

    plain, loop = Loop(), Loop().attach(predict={"window_start_frac": 0.9, "window_end_frac": 1.0})
    for one in (plain, loop):
        one.problem.batch = broken
        one.run(40)
    torch.testing.assert_close(
        weights_of(loop.problem.model), weights_of(plain.problem.model), rtol=0, atol=0, equal_nan=True
    )
    assert loop.events == ["not_finite"]


def frozen(problem: Problem) -> None:
    problem.model[0].weight.requires_grad_(False)  # pyright: ignore[reportIndexIssue]


def unfrozen(problem: Problem) -> None:
    problem.model[0].weight.requires_grad_(True)  # pyright: ignore[reportIndexIssue]


def added(problem: Problem) -> None:
    extra = nn.Parameter(torch.zeros(1))
    problem.model.register_parameter("extra", extra)
    problem.optimizer.add_param_group({"params": [extra], "lr": 1e-3, "weight_decay": 0.0})
    inner = problem.loss_fn
    problem.loss_fn = lambda net, pair: inner(net, pair) + (extra.square() - extra).sum()


@pytest.mark.parametrize("change", [frozen, added])
@pytest.mark.parametrize("at", [44, 50])
def test_a_change_of_what_is_trained_begins_a_new_cycle(change: Callable[[Problem], None], at: int) -> None:
    """Frozen, or added in a group of its own, in or at the end of a cycle: told once; jumps after three cycles."""
    problem = teacher()
    problem.scheduler = None
    loop = Loop(problem).attach().run(at)
    change(problem)
    loop.run(100)
    assert loop.events == ["parameters_changed"]
    assert next(step for step in loop.jumped if step > at) == at + 31
    for one in problem.model.parameters():
        assert one.isfinite().all()


def test_frozen_weights_are_not_moved_and_move_again_when_they_are_trained() -> None:
    """Bit for bit while they are frozen, jumps included."""
    problem = teacher()
    loop = Loop(problem).attach()
    weight = problem.model[0].weight  # pyright: ignore[reportIndexIssue]
    frozen(problem)
    before = weight.detach().clone()
    loop.run(60)
    assert torch.equal(weight, before)
    unfrozen(problem)
    loop.run(120)
    assert not torch.equal(weight, before)
    assert loop.events == ["parameters_changed"]
    assert [step > 60 for step in loop.jumped] == [False] * 4 + [True] * 3


def test_a_loss_that_is_not_finite_in_a_cycle_that_a_change_ends_is_forgotten() -> None:
    """It does not stand in the way of later cycles: jumps come after three of them."""
    loop = Loop().attach()
    show = loop.show
    loop.show = lambda loss: show(loss * torch.nan if loop.num_updates == 44 else loss)  # pyright: ignore[reportAttributeAccessIssue]
    loop.run(45)
    frozen(loop.problem)
    loop.run(80)
    assert loop.events == ["parameters_changed"]
    assert [step for step in loop.jumped if step > 45] == [76]


def embedding(tied: bool, make: Callable[[Any], torch.optim.Optimizer]) -> Problem:
    """Rows looked up, by a sparse gradient unless they are tied to the output."""
    torch.manual_seed(0)
    table = nn.Embedding(12, 6, sparse=not tied)
    head = nn.Linear(6, 12, bias=False)
    if tied:
        head.weight = table.weight
    else:
        head.weight.requires_grad_(False)
    model = nn.Sequential(table, nn.Tanh(), head)

    def batch(index: int) -> torch.Tensor:
        return torch.randint(0, 10, (16,), generator=torch.Generator().manual_seed(index))

    def loss_fn(net: nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(net(rows), (rows + 1) % 12)

    optimizer = make([one for one in model.parameters() if one.requires_grad])
    return Problem(model, optimizer, LinearLR(optimizer, 1.0, 0.1, 200), loss_fn, batch)


@pytest.mark.parametrize(
    "make",
    [lambda some: torch.optim.SparseAdam(some, lr=0.01), lambda some: SGD(some, lr=0.5)],
    ids=["SparseAdam", "SGD"],
)
def test_rows_that_no_batch_looks_up_stay(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """Sparse gradients: their rows jump, the others are as they were at the start, to the bit."""
    problem = embedding(tied=False, make=make)
    table = problem.model[0].weight  # pyright: ignore[reportIndexIssue]
    before = table.detach().clone()
    loop = Loop(problem).attach().run(100)
    assert torch.equal(table[10:], before[10:])
    assert len(loop.jumped) >= 6
    assert loop.events == []


def test_tied_weights_stay_tied_and_jump_once() -> None:
    """To the last bit as in the trainer."""
    problems = [embedding(tied=True, make=lambda some: AdamW(some, lr=0.01)) for _ in range(2)]
    trainer_on_the_same(problems[0], 95)
    loop = Loop(problems[1]).attach().run(95)
    model = problems[1].model
    assert model[0].weight is model[2].weight  # pyright: ignore[reportIndexIssue]
    assert torch.equal(weights_of(model), weights_of(problems[0].model))
    assert len(loop.jumped) >= 6
    assert events_of(loop.records) == []
