"""The trained parameters may change on the way: full steps stay the hand-written loop, and nothing jumps over it."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of
from torch import nn

from hpt import HybridTrainer
from hpt.records import EventRecord, JumpRecord, Record

AT = 63  # inside a cycle
WHOLE_RUN: dict[str, Any] = {
    "gate": "always",
    "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0},
    "update": {"clip_norm": 0.5},
}


def first(problem: Problem) -> nn.Linear:
    layer = next(problem.model.children())
    assert isinstance(layer, nn.Linear)
    return layer


def another(like: torch.Tensor) -> torch.Tensor:
    return 0.3 * torch.randn(like.shape, generator=torch.Generator().manual_seed(9))


def freeze(problem: Problem) -> None:
    first(problem).weight.requires_grad_(False)


def unfreeze(problem: Problem) -> None:
    first(problem).weight.requires_grad_(True)


def new_group(problem: Problem) -> None:
    """A module that did not exist is trained from now on, in a group of its own."""
    layer = nn.Linear(1, 1)
    layer.weight.data.fill_(0.9)
    layer.bias.data.fill_(0.1)
    problem.model.add_module("added", layer)
    problem.optimizer.add_param_group({"params": list(layer.parameters()), "lr": 2e-3})


def unknown_layer(problem: Problem) -> None:
    """A module that the optimizer never hears of; a hand-written loop clips its gradients with the others."""
    layer = nn.Linear(1, 1)
    layer.weight.data.fill_(0.9)
    layer.bias.data.fill_(0.1)
    problem.model.add_module("added", layer)


def remove_group(problem: Problem) -> None:
    for parameter in problem.optimizer.param_groups.pop()["params"]:
        problem.optimizer.state.pop(parameter, None)  # torch saves no state of what no group holds


def replace_untold(problem: Problem) -> None:
    """The optimizer keeps the orphan."""
    first(problem).weight = nn.Parameter(another(first(problem).weight))


def replace_told(problem: Problem) -> None:
    old, parameters = first(problem).weight, problem.optimizer.param_groups[0]["params"]
    replace_untold(problem)
    parameters[0] = first(problem).weight
    problem.optimizer.state.pop(old, None)


def swap_data(problem: Problem) -> None:
    first(problem).weight.data = another(first(problem).weight)


CHANGES: dict[str, Callable[[Problem], None]] = {
    "freeze": freeze,
    "unfreeze": unfreeze,
    "new group": new_group,
    "unknown layer": unknown_layer,
    "remove group": remove_group,
    "replace, untold": replace_untold,
    "replace, told": replace_told,
    "swap data": swap_data,
}
OF_THE_TRAINED = [name for name in CHANGES if name != "unknown layer"]


def problem_for(change: str) -> Problem:
    problem = teacher()
    problem.scheduler = None
    if change == "unfreeze":
        freeze(problem)
    return problem


def plain_loop(problem: Problem, calls: int, change_at: int, change: Callable[[Problem], None], parts: int) -> None:
    """The loop as a user writes it."""
    for index in range(calls):
        if index == change_at:
            change(problem)
        if index % parts == 0:
            problem.optimizer.zero_grad()
        loss = problem.loss_fn(problem.model, problem.batch(index))
        (loss if parts == 1 else loss / parts).backward()
        if index % parts == parts - 1:
            given = [one for group in problem.optimizer.param_groups for one in group["params"]]
            torch.nn.utils.clip_grad_norm_(list(dict.fromkeys((*problem.model.parameters(), *given))), 0.5)
            problem.optimizer.step()


def build(problem: Problem, records: list[Record] | None = None, **settings: Any) -> HybridTrainer:
    return problem.trainer(records, **(WHOLE_RUN | settings))


def run(
    problem: Problem,
    calls: int,
    change: Callable[[Problem], None],
    records: list[Record] | None = None,
    **settings: Any,
) -> tuple[HybridTrainer, list[float]]:
    trainer = build(problem, records, **settings)
    losses: list[float] = []
    for index in range(calls):
        if index == AT:
            change(problem)
        losses.append(trainer.step(problem.batch(index)).loss)
    return trainer, losses


def told(records: list[Record], name: str) -> list[str]:
    return [one.message for one in records if isinstance(one, EventRecord) and one.name == name]


@cache
def changed_by_hand(name: str, parts: int) -> torch.Tensor:
    """Weights after 78 calls of the hand-written loop."""
    problem = problem_for(name)
    plain_loop(problem, 78, AT, CHANGES[name], parts)
    return weights_of(problem.model)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("predictor", ["none", "nesterov"])
@pytest.mark.parametrize("name", CHANGES)
def test_full_steps_are_the_hand_written_loop_under_any_change(name: str, predictor: str, parts: int) -> None:
    """Weights agree bit for bit with clipping; changed between updates, or between micro-batches (AT is odd)."""
    problem, update = problem_for(name), {"clip_norm": 0.5, "accumulation_steps": parts}
    run(problem, 78, CHANGES[name], predictor=predictor, warmup_steps=200, update=update)
    assert torch.equal(weights_of(problem.model), changed_by_hand(name, parts))


class Unfreezing:
    """A hook that unfreezes the first weight in the forward pass of call AT."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.calls = problem, 0

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        self.calls += 1
        if self.calls == AT:
            unfreeze(self.problem)


@pytest.mark.parametrize("predictor", ["none", "nesterov"])
def test_a_change_made_by_the_loss_function_counts_from_that_very_update(predictor: str) -> None:
    """Unfrozen inside the call whose gradients it changes: these are clipped with the others."""
    weights: list[torch.Tensor] = []
    for way in ("hand", "trainer"):
        problem = problem_for("unfreeze")
        first(problem).register_forward_pre_hook(Unfreezing(problem))
        if way == "hand":
            plain_loop(problem, 100, -1, freeze, 1)
        else:
            problem.run(build(problem, predictor=predictor, warmup_steps=200), 100)
        weights.append(weights_of(problem.model))
    assert torch.equal(*weights)


@pytest.mark.parametrize("name", OF_THE_TRAINED)
def test_a_change_is_told_once_and_jumps_go_on(name: str) -> None:
    """One event, no failed probe, no jump in the cycle of the change, and at least five afterwards."""
    problem, records = problem_for(name), list[Record]()
    run(problem, 140, CHANGES[name], records)
    (message,) = told(records, "parameters_changed")
    assert message.endswith("the cycle starts anew")
    assert told(records, "probe_failed") == []
    (changed,) = [one.step for one in records if isinstance(one, EventRecord) and one.name == "parameters_changed"]
    jumps = [one.step for one in records if isinstance(one, JumpRecord)]
    assert not any(changed < step < changed + 10 for step in jumps)
    assert sum(step > changed for step in jumps) >= 5


@pytest.mark.parametrize("at", range(60, 74))
def test_a_frozen_parameter_stays_to_the_bit(at: int) -> None:
    """Wherever in the cycle it was frozen, before a jump or while one is in doubt too."""
    problem = teacher()
    trainer = build(problem)
    while trainer.num_calls < at:
        trainer.step(problem.batch(trainer.num_calls))
    freeze(problem)
    before = first(problem).weight.detach().clone()
    problem.run(trainer, 90)
    assert torch.equal(first(problem).weight, before)


@pytest.mark.parametrize("name", ["replace, untold", "replace, told", "swap data"])
def test_what_was_put_in_is_not_moved_by_what_was_there(name: str) -> None:
    """At the first jump after the change the new weight's displacement counts from itself, and an orphan stays."""
    problem, records = teacher(), list[Record]()
    trainer, orphan = build(problem, records), first(problem).weight
    while trainer.num_calls < AT:
        trainer.step(problem.batch(trainer.num_calls))
    CHANGES[name](problem)
    old, new = orphan.detach().clone(), first(problem).weight.detach().clone()
    while not any(isinstance(one, JumpRecord) and one.call > AT for one in records):
        trainer.step(problem.batch(trainer.num_calls))
    if name != "swap data":
        assert torch.equal(orphan, old)
    # 20 updates at a rate of 3e-3 and a jump of at most 1.5 cycles; the replaced weight lies about 5 away
    assert float((first(problem).weight - new).detach().norm()) < 20 * 3e-3 * 2.5 * new.numel() ** 0.5


def test_a_nan_in_the_gradient_of_what_was_unfrozen_is_refused() -> None:
    """Not only clipping, the look for what is not finite, too, sees a parameter that came later."""
    problem, records = problem_for("unfreeze"), list[Record]()
    poisoned = False

    def poison(grad: torch.Tensor) -> torch.Tensor:
        return grad * math.nan if poisoned else grad

    trainer = build(problem, records, warmup_steps=200)
    for index in range(90):
        if index == AT:
            unfreeze(problem)
            first(problem).weight.register_hook(poison)
        poisoned = index == 80
        trainer.step(problem.batch(index))
    assert len(told(records, "update_skipped")) == 1
    assert weights_of(problem.model).isfinite().all()


@pytest.mark.parametrize("name", OF_THE_TRAINED)
def test_a_run_resumes_with_the_set_at_saving_time(name: str, tmp_path: Path) -> None:
    """Saved after the change, loaded where the change was made before: the next 50 losses are bit-identical."""
    problem, predictor = problem_for(name), "rssm" if name == "new group" else "nesterov"
    trainer, _ = run(problem, AT + 14, CHANGES[name], predictor=predictor)
    trainer.save(tmp_path / "run.ckpt")
    expected = [trainer.step(problem.batch(trainer.num_calls)).loss for _ in range(50)]
    other = problem_for(name)
    CHANGES[name](other)
    resumed = build(other, predictor=predictor)
    resumed.load(tmp_path / "run.ckpt")
    assert [resumed.step(other.batch(resumed.num_calls)).loss for _ in range(50)] == expected


def test_a_change_just_before_saving_is_in_the_checkpoint(tmp_path: Path) -> None:
    """Frozen between the last step and `save`: the checkpoint is of the set without it."""
    problem = teacher()
    trainer = build(problem)
    problem.run(trainer, AT)
    freeze(problem)
    trainer.save(tmp_path / "run.ckpt")
    other = teacher()
    freeze(other)
    resumed = build(other)
    resumed.load(tmp_path / "run.ckpt")
    expected = [trainer.step(problem.batch(trainer.num_calls)).loss for _ in range(50)]
    assert [resumed.step(other.batch(resumed.num_calls)).loss for _ in range(50)] == expected


def test_parameters_that_take_turns_are_the_hand_written_loop_too() -> None:
    """The two layers are trained in turn, five updates each: no weight is off, and no more than one event a cycle."""

    def take_turns(problem: Problem, index: int) -> None:
        first(problem).requires_grad_(index // 5 % 2 == 0)

    ours, theirs, records = teacher(), teacher(), list[Record]()
    ours.scheduler = None
    trainer = build(ours, records, warmup_steps=200)
    for index in range(60):
        take_turns(ours, index)
        trainer.step(ours.batch(index))
        take_turns(theirs, index)
        theirs.optimizer.zero_grad()
        theirs.loss_fn(theirs.model, theirs.batch(index)).backward()
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), 0.5)
        theirs.optimizer.step()
    assert torch.equal(weights_of(ours.model), weights_of(theirs.model))
    assert len(told(records, "parameters_changed")) <= 6


def test_an_optimizer_may_have_nothing_to_train_for_a_while() -> None:
    """Another part of the model goes on; when its parameters are unfrozen, so do their jumps."""
    problem, records = teacher(), list[Record]()
    problem.optimizer = torch.optim.AdamW(first(problem).parameters(), lr=3e-3)
    problem.scheduler = None
    trainer, seen = build(problem, records), list[torch.Tensor]()
    for index in range(170):
        if index in {60, 90}:
            first(problem).requires_grad_(index == 90)
            seen.append(weights_of(first(problem)))
        trainer.step(problem.batch(index))
    assert torch.equal(*seen)
    assert len(told(records, "parameters_changed")) == 2
    assert any(isinstance(one, JumpRecord) and one.call > 100 for one in records)
