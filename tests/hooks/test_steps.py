"""Which steps of the optimizer count as updates, and when the first of them binds."""

from typing import Any

import pytest
import torch
from references.host_loop import Loop
from references.problems import Problem, teacher, weights_of
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.optim import SGD, AdamW


def counted(loop: Loop) -> int:
    assert loop.jumps is not None
    return loop.jumps.summary()["num_updates"]


def test_parameters_swapped_before_the_first_step_are_those_that_jump() -> None:
    """Libraries replace them after the optimizer is made."""
    problem, other = teacher(), teacher(seed=0)
    loop = Loop(problem).attach()
    for name, _ in list(problem.model.named_parameters()):
        owner, _, key = name.rpartition(".")
        setattr(problem.model.get_submodule(owner), key, other.model.get_submodule(owner)._parameters[key])
    weights = [one for one in problem.model.parameters() if one.ndim > 1]
    biases = [one for one in problem.model.parameters() if one.ndim == 1]
    problem.optimizer.param_groups[0]["params"], problem.optimizer.param_groups[1]["params"] = weights, biases
    reference = Loop().attach().run(80)
    loop.run(80)
    assert loop.jumped == reference.jumped
    assert torch.equal(weights_of(problem.model), weights_of(reference.problem.model))


@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_step_by_which_dcp_makes_state_is_no_update(as_tensor: bool) -> None:
    """The real `get_optimizer_state_dict` on a fresh optimizer: no update is counted, later ones are."""
    problem = teacher()
    problem.scheduler = None
    rate: Any = torch.tensor(3e-3) if as_tensor else 3e-3
    problem.optimizer = AdamW(problem.model.parameters(), lr=rate, foreach=False)
    loop = Loop(problem).attach()
    state = get_optimizer_state_dict(problem.model, problem.optimizer)
    assert "state" in state
    assert problem.optimizer.state
    assert counted(loop) == 0
    loop.run(45)
    assert counted(loop) == 45
    assert len(loop.jumped) == 2


def test_a_stateless_optimizer_is_asked_for_its_state_at_any_time() -> None:
    """SGD has none, so that DCP steps it at each time it is asked: none of these is an update."""
    plain, loop = Loop(sgd()), Loop(sgd()).attach()
    plain.attach()
    for _ in range(50):
        plain.update()
        loop.update()
        get_optimizer_state_dict(loop.problem.model, loop.problem.optimizer)
    assert counted(loop) == 50
    assert loop.jumped == plain.jumped != []
    assert torch.equal(weights_of(loop.problem.model), weights_of(plain.problem.model))


def sgd() -> Problem:
    problem = teacher()
    problem.optimizer, problem.scheduler = SGD(problem.model.parameters(), lr=0.01), None
    return problem


def test_a_first_step_at_rate_0_counts() -> None:
    """A linear warm-up begins there, with gradients."""
    problem = teacher()
    problem.scheduler = torch.optim.lr_scheduler.LambdaLR(problem.optimizer, lambda step: min(1.0, step / 10))
    loop = Loop(problem).attach()
    assert problem.optimizer.param_groups[0]["lr"] == 0.0
    loop.run(1)
    assert counted(loop) == 1


def test_a_first_step_at_rate_0_by_a_closure_counts() -> None:
    """Its gradients are zeros until the closure has run."""
    problem = teacher()
    for group in problem.optimizer.param_groups:
        group["lr"] = 0.0
    loop = Loop(problem).attach()
    for one in problem.model.parameters():
        one.grad = torch.zeros_like(one)

    def closure() -> torch.Tensor:
        problem.optimizer.zero_grad()
        loss = problem.loss_fn(problem.model, problem.batch(0))
        loss.backward()
        loop.show(loss)
        return loss

    problem.optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert counted(loop) == 1


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_a_scaler_skips_is_not_counted(fused: bool) -> None:
    """The real GradScaler finds an infinite gradient: a fused step is made and does nothing, another is left out."""
    problem = teacher()
    problem.scheduler = None
    problem.optimizer = AdamW(problem.model.parameters(), lr=3e-3, fused=fused)
    loop = Loop(problem).attach()
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    assert loop.jumps is not None
    for number in range(20):
        loop.jumps.begin_update()
        loss = problem.loss_fn(problem.model, problem.batch(number))
        scaler.scale(loss).backward()
        loop.show(loss)
        if number in (0, 7):
            next(problem.model.parameters()).grad.fill_(torch.inf)  # pyright: ignore[reportOptionalMemberAccess]
        before = weights_of(problem.model)
        scaler.step(problem.optimizer)
        scaler.update()
        problem.optimizer.zero_grad()
        assert torch.equal(before, weights_of(problem.model)) == (number in (0, 7))
    assert counted(loop) == 18
    run = loop.jumps._run
    assert run is not None
    assert len(run.history.past_losses) == 10
    assert loop.events == []


@pytest.mark.parametrize("fused", [True, False])
def test_norms_are_those_of_gradients_without_the_scale(fused: bool) -> None:
    """With a scaler and without: the same norms, up to rounding by a power of two, which is exact."""
    norms: list[Any] = []
    for scale in (None, 1024.0):
        problem = teacher()
        problem.scheduler = None
        problem.optimizer = AdamW(problem.model.parameters(), lr=3e-3, fused=fused)
        loop = Loop(problem).attach()
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
        for number in range(10):
            scaler.scale(problem.loss_fn(problem.model, problem.batch(number))).backward()
            scaler.step(problem.optimizer)
            scaler.update()
            problem.optimizer.zero_grad()
        assert loop.jumps is not None
        assert loop.jumps._run is not None
        norms.append(loop.jumps._run.history.past_grad_norms)
    assert (norms[0] == norms[1]).all()
    assert len(norms[0]) == 10


class Derived(AdamW):
    """Its step calls AdamW's, which torch gives hooks too, once an AdamW was made."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


def test_a_step_inside_a_step_is_one_update() -> None:
    """Of an optimizer derived from torch's: as many updates as calls, and the jumps of torch's own."""
    AdamW([nn.Parameter(torch.zeros(1))])
    loops = []
    for kind in (AdamW, Derived):
        problem = teacher()
        problem.scheduler = None
        problem.optimizer = kind(problem.model.parameters(), lr=3e-3)
        loops.append(Loop(problem).attach().run(65))
    assert [counted(one) for one in loops] == [65, 65]
    assert loops[0].jumped == loops[1].jumped != []
    assert torch.equal(*(weights_of(one.problem.model) for one in loops))


def test_a_step_that_raises_is_no_update_and_the_next_is_one() -> None:
    """A closure of the user's raises once."""
    loop = Loop().attach().run(5)

    def closure() -> torch.Tensor:
        raise RuntimeError("data are gone")

    with pytest.raises(RuntimeError, match="data are gone"):
        loop.problem.optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
    loop.run(45)
    assert counted(loop) == 45
    assert loop.jumped == [30, 40]
