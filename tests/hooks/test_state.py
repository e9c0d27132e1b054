"""The state of attached jumps: it rides in the optimizer's, and a run continues from it bit for bit."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.host_loop import Loop
from references.problems import teacher, weights_of
from references.same import assert_same
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_into
from torch.distributed.checkpoint.state_dict_saver import save

from hpt import CheckpointError, Jumps
from hpt.hooks.jumps import STATE_KEY
from hpt.hooks.state import NOTHING


def saved(loop: Loop) -> dict[str, Any]:
    """As a user saves it, and reads it again: the weights, the optimizer's state, the schedule."""
    assert loop.problem.scheduler is not None
    parts = {
        "model": loop.problem.model.state_dict(),
        "optimizer": loop.problem.optimizer.state_dict(),
        "scheduler": loop.problem.scheduler.state_dict(),
        "grads": [one.grad for one in loop.problem.model.parameters()],
        "position": (loop.num_updates, loop.num_batches),
    }
    file = io.BytesIO()
    torch.save(parts, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def load(loop: Loop, state: dict[str, Any]) -> Loop:
    """Into a loop that has made no step, or some; the optimizer would take the tensors as they are."""
    state = copy.deepcopy(state)
    assert loop.problem.scheduler is not None
    loop.problem.model.load_state_dict(state["model"])
    loop.problem.optimizer.load_state_dict(state["optimizer"])
    loop.problem.scheduler.load_state_dict(state["scheduler"])
    for one, grad in zip(loop.problem.model.parameters(), state["grads"], strict=True):
        one.grad = grad
    loop.num_updates, loop.num_batches = state["position"]
    return loop


def jumps_of(loop: Loop) -> Jumps:
    assert loop.jumps is not None
    return loop.jumps


def end_of(loop: Loop) -> Any:
    """What must be the same: weights, optimizer state, and the summary."""
    account = {key: value for key, value in jumps_of(loop).summary().items() if key != "account"}
    return weights_of(loop.problem.model), loop.problem.optimizer.state_dict()["state"], account


@pytest.mark.parametrize("predictor", ["prior", "rssm", "nesterov"])
def test_a_run_continues_bit_for_bit_from_any_update(predictor: str) -> None:
    """In a cycle, at its end right after a jump, while a jump is in doubt, or between micro-batches."""
    end = 75
    whole, states = Loop(parts=2).attach(predictor=predictor), {}
    while whole.num_updates < end:
        states[whole.num_updates, 0] = saved(whole)
        whole.micro_batch()
        states[whole.num_updates, 1] = saved(whole)
        whole.update()
    expected = end_of(whole)

    @given(update=st.integers(1, end - 1), part=st.integers(0, 1))
    @settings(max_examples=12, deadline=None, derandomize=True)
    def continues(update: int, part: int) -> None:
        again = load(Loop(parts=2).attach(predictor=predictor), states[update, part])
        assert_same(end_of(again.run(end)), expected)

    continues()
    for update in (59, 60, 61, 62, 63):
        again = load(Loop(parts=2).attach(predictor=predictor), states[update, 0])
        assert_same(end_of(again.run(end)), expected)


def test_without_losses_a_run_continues_bit_for_bit() -> None:
    """As in a loop that shows none."""
    whole = Loop(observes=False).attach(predictor="prior").run(64)
    state = saved(whole)
    again = load(Loop(observes=False).attach(predictor="prior"), state)
    assert_same(end_of(again.run(95)), end_of(whole.run(95)))


def test_it_continues_in_an_object_that_has_made_steps() -> None:
    """Loaded in the middle of another run of the same settings, bit for bit."""
    whole = Loop().attach()
    state = saved(whole.run(64))
    again = load(Loop(teacher(seed=3)).attach().run(27), state)
    again.problem.batch = whole.problem.batch
    assert_same(end_of(again.run(95)), end_of(whole.run(95)))


def test_the_optimizers_state_holds_it_and_plain_programs_ignore_it() -> None:
    """A plain optimizer loads the whole: its state is that of the loop, and the next step the same."""
    loop = Loop().attach().run(55)
    state = saved(loop)
    assert STATE_KEY in state["optimizer"]
    plain = load(Loop(), state)
    assert_same(plain.problem.optimizer.state_dict()["state"], loop.problem.optimizer.state_dict()["state"])
    assert STATE_KEY not in plain.problem.optimizer.state_dict()
    assert torch.equal(weights_of(plain.run(58).problem.model), weights_of(loop.run(58).problem.model))


def test_before_the_first_step_there_is_none() -> None:
    """The optimizer's state is as without hpt, and an empty state may be loaded."""
    loop = Loop().attach()
    assert STATE_KEY not in loop.problem.optimizer.state_dict()
    jumps_of(loop).load_state_dict(jumps_of(loop).state_dict())
    jumps_of(loop).load_state_dict({})
    assert loop.run(35).jumped == [30]


def test_what_was_loaded_and_not_used_yet_is_handed_on() -> None:
    """Saved again before the first step, it is what was loaded."""
    state = saved(Loop().attach().run(33))
    again = load(Loop().attach(), state)
    assert_same(again.problem.optimizer.state_dict()[STATE_KEY], state["optimizer"][STATE_KEY])


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("update", [55, 60, 62])
def test_dcp_saves_and_loads_the_jumps_themselves(tmp_path: Path, update: int) -> None:
    """A Stateful: into an object without a step, whose state has no content to be filled; bit for bit from there.

    DCP's own optimizer state, made by `get_optimizer_state_dict`, leaves the entry out.
    """
    whole = Loop().attach(predictor="rssm").run(update)
    model, optimizer = whole.problem.model, whole.problem.optimizer
    of_optimizer = get_optimizer_state_dict(model, optimizer)
    assert set(of_optimizer) == {"state", "param_groups"}
    assert whole.problem.scheduler is not None
    parts: dict[str, Any] = {
        "model": model.state_dict(),
        "optimizer": of_optimizer,
        "scheduler": whole.problem.scheduler.state_dict(),
        "jumps": whole.jumps,
    }
    save(parts, checkpoint_id=tmp_path / "c", no_dist=True)

    again = Loop().attach(predictor="rssm")
    model, optimizer = again.problem.model, again.problem.optimizer
    assert again.problem.scheduler is not None
    parts = {
        "model": model.state_dict(),
        "optimizer": get_optimizer_state_dict(model, optimizer),
        "scheduler": again.problem.scheduler.state_dict(),
        "jumps": again.jumps,
    }
    load_into(parts, checkpoint_id=tmp_path / "c", no_dist=True)
    model.load_state_dict(parts["model"])
    set_optimizer_state_dict(model, optimizer, parts["optimizer"])
    again.problem.scheduler.load_state_dict(parts["scheduler"])
    again.num_updates, again.num_batches = whole.num_updates, whole.num_batches
    assert_same(end_of(again.run(75)), end_of(whole.run(75)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predictor": "prior"}, "predictor 'nesterov', this run has 'prior'"),
        ({"full_steps": 20}, "cycle_steps 10, this run has 20"),
        ({"total_steps": 300}, "total_steps 200, this run has 300"),
    ],
)
@pytest.mark.parametrize("num_steps", [0, 14])
def test_a_state_of_other_settings_is_refused_and_nothing_changes(
    changed: dict[str, Any], message: str, num_steps: int
) -> None:
    """With the first step, or at once where there was one; weights, optimizer and jumps are as before."""
    state = saved(Loop().attach().run(44))
    loop = Loop().attach(**changed).run(num_steps)
    before, mine = weights_of(loop.problem.model), copy.deepcopy(jumps_of(loop).state_dict())
    optimizer = copy.deepcopy(loop.problem.optimizer.state_dict()["state"])

    def go_on() -> None:
        loop.problem.optimizer.load_state_dict(state["optimizer"])
        loop.update()

    with pytest.raises(CheckpointError, match=message):
        go_on()
    assert torch.equal(weights_of(loop.problem.model), before)
    if num_steps:
        assert_same(jumps_of(loop).state_dict(), mine)
        assert_same(loop.problem.optimizer.state_dict()["state"], optimizer)


def test_a_state_of_other_parameters_is_refused_whole() -> None:
    """The jumps go on as if nothing had been loaded."""
    other = Loop(teacher(norm=True)).attach().run(44)
    loop, same = Loop().attach().run(34), Loop().attach().run(34)
    with pytest.raises(CheckpointError, match="other parameters are trained than in the saved run"):
        jumps_of(loop).load_state_dict(jumps_of(other).state_dict())
    assert_same(end_of(loop.run(75)), end_of(same.run(75)))


def test_a_damaged_state_is_refused_whole() -> None:
    """A part is missing: the jumps go on as if nothing had been loaded."""
    loop, same = Loop().attach().run(34), Loop().attach().run(34)
    state = jumps_of(Loop().attach().run(44)).state_dict()
    text, tensors, losses = state["content"]
    without = text.replace('"trend":{', '"other":{')
    assert without != text
    with pytest.raises(CheckpointError, match="does not fit"):
        jumps_of(loop).load_state_dict({**state, "content": (without, tensors, losses)})
    assert_same(end_of(loop.run(75)), end_of(same.run(75)))


def test_a_state_of_another_layout_is_refused() -> None:
    """By its number."""
    with pytest.raises(CheckpointError, match="schema 99, this version reads 1"):
        jumps_of(Loop().attach()).load_state_dict({**NOTHING, "schema": 99})


def test_a_jump_that_was_saved_in_doubt_stays() -> None:
    """Gradients blow up in the update after loading: what came before the jump is not stored, and nothing is undone."""
    state = saved(Loop().attach().run(60))
    loops = [load(Loop().attach(), state), load(Loop(), state)]
    for loop in loops:
        one_of = loop.problem.model

        def times_1000(number: int, model: Any = one_of) -> None:
            for one in model.parameters():
                one.grad.mul_(1e3 if number == 61 else 1.0)

        loop.before_step = times_1000
        loop.run(69)
    attached, plain = loops
    assert attached.events == []
    assert torch.equal(weights_of(attached.problem.model), weights_of(plain.problem.model))


@pytest.mark.parametrize("factor", [1e3, float("nan")])
def test_weights_of_another_time_are_not_undone(factor: float) -> None:
    """A loop goes back to a plain checkpoint while a jump is in doubt: what follows never leads to the time before."""
    plain = saved(Loop().run(20))
    loop = Loop().attach().run(61)
    loop.problem.model.load_state_dict(plain["model"])
    loop.problem.optimizer.load_state_dict(plain["optimizer"])

    def times(number: int) -> None:
        for one in loop.problem.model.parameters():
            assert one.grad is not None
            one.grad.mul_(factor if number == 62 else 1.0)

    loop.before_step = times
    loop.run(70)
    assert "weights_loaded" in loop.events
    assert "jump_rolled_back" not in loop.events
    assert bool(weights_of(loop.problem.model).isfinite().all()) == (factor == 1e3)
