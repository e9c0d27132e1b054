"""Losses as a loop shows them: any kind of number, one an update, or none at all."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.host_loop import Loop
from references.problems import weights_of

from hpt import ConfigError
from hpt.hooks.losses import UpdateLoss


def test_losses_of_an_update_are_added() -> None:
    """Micro-batch by micro-batch, and the next update begins at nothing."""
    losses = UpdateLoss()
    for one in (1.0, 2.5, 4.0):
        losses.add(one)
    assert losses.take() == 7.5
    losses.add(2.0)
    assert losses.take() == 2.0


def test_the_loss_before_stands_in_for_a_missing_one() -> None:
    """And it is counted."""
    losses = UpdateLoss()
    assert losses.take() is None
    assert losses.num_missing == 0
    losses.add(3.0)
    assert [losses.take(), losses.take()] == [3.0, 3.0]
    assert losses.num_missing == 1


def test_a_tensor_may_be_changed_after_it_was_shown() -> None:
    """In place, by its owner."""
    losses, shown = UpdateLoss(), torch.tensor(3.0)
    losses.add(shown)
    shown.fill_(7.0)
    assert losses.take() == 3.0


def test_an_update_that_is_not_made_leaves_no_loss() -> None:
    """A scaler left it out, and the loop began another."""
    losses = UpdateLoss()
    losses.add(100.0)
    losses.drop()
    losses.add(1.0)
    assert losses.take() == 1.0


@pytest.mark.parametrize(
    "form",
    [lambda loss: float(loss.detach()), lambda loss: loss, lambda loss: loss.reshape(1), lambda loss: loss.double()],
    ids=["float", "tensor", "(1,)", "float64"],
)
def test_every_form_of_a_loss_gives_the_same_jumps(form: Callable[[torch.Tensor], Any]) -> None:
    """A float, a tensor with its graph, one of one element, one of double precision."""
    loop, same = Loop().attach(predictor="rssm"), Loop().attach(predictor="rssm").run(75)
    assert loop.jumps is not None
    show = loop.jumps.observe
    loop.show = lambda loss: show(form(loss))  # pyright: ignore[reportAttributeAccessIssue]
    loop.run(75)
    assert loop.jumped == same.jumped != []
    assert torch.equal(weights_of(loop.problem.model), weights_of(same.problem.model))


def test_a_loss_that_is_missing_once_is_told_once_and_does_no_harm() -> None:
    """Jumps as with all of them."""
    loop, same = Loop().attach(), Loop().attach().run(75)
    show = loop.show
    loop.show = lambda loss: None if loop.num_updates in (33, 34, 50) else show(loss)  # pyright: ignore[reportAttributeAccessIssue]
    loop.run(75)
    assert loop.events == ["loss_missing"]
    assert loop.jumped == same.jumped
    assert torch.equal(weights_of(loop.problem.model), weights_of(same.problem.model))


def test_a_predictor_that_learns_from_losses_is_refused_without() -> None:
    """With the first update, before which a closure may have shown some."""
    loop = Loop(observes=False).attach(predictor="rssm")
    with pytest.raises(ConfigError, match=r"none was shown before the first step; call jumps.observe\(loss\)"):
        loop.run(1)


def test_losses_that_come_late_are_ignored_and_told_once() -> None:
    """A run that began without goes on without."""
    loop = Loop(observes=False).attach(predictor="prior").run(20)
    loop.observes = True
    loop.run(75)
    assert loop.events == ["losses_ignored"]
    assert loop.jumped == [30, 40, 50, 60, 70]


def test_a_closure_shows_its_loss_inside_the_step() -> None:
    """The same run as with losses shown before it."""
    loop, same = Loop().attach(predictor="rssm"), Loop().attach(predictor="rssm").run(45)
    problem = loop.problem
    for number in range(45):

        def closure(number: int = number) -> torch.Tensor:
            problem.optimizer.zero_grad()
            loss = problem.loss_fn(problem.model, problem.batch(number))
            loss.backward()
            loop.show(loss)
            return loss

        problem.optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
        assert problem.scheduler is not None
        problem.scheduler.step()
    assert loop.jumped == same.jumped == [30, 40]
    assert torch.equal(weights_of(problem.model), weights_of(same.problem.model))
