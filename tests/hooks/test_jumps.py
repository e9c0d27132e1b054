"""`hpt.attach` and what it returns: attaching, detaching, the length of the run, the summary."""

import copy
import gc
import io
import weakref
from typing import Any

import pytest
import torch
from references.host_loop import Loop
from references.problems import teacher, weights_of

import hpt
from hpt import ConfigError, HybridConfig, Jumps, UsageError
from hpt.records import EventRecord


def jumps_of(loop: Loop) -> Jumps:
    assert loop.jumps is not None
    return loop.jumps


@pytest.mark.parametrize("at", [1, 25, 61])
def test_after_detaching_the_loop_is_the_plain_one(at: int) -> None:
    """From there on, bit for bit, also while a jump is in doubt; nothing of hpt is left on the optimizer."""
    loop = Loop().attach().run(at)
    plain = Loop(copy.deepcopy(loop.problem))
    plain.num_updates, plain.num_batches = loop.num_updates, loop.num_batches
    assert plain.problem.scheduler is not None
    jumps_of(loop).detach()
    assert torch.equal(weights_of(loop.run(120).problem.model), weights_of(plain.run(120).problem.model))
    optimizer = loop.problem.optimizer
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_state_dict_post_hooks
    assert not optimizer._optimizer_load_state_dict_pre_hooks


def test_a_second_attach_is_refused_until_the_first_is_detached() -> None:
    """Also where it is in a list with others."""
    loop = Loop().attach().run(5)
    with pytest.raises(UsageError, match=r"attached to this optimizer already; call detach\(\)"):
        hpt.attach(loop.problem.optimizer)
    with pytest.raises(UsageError, match="attached to this optimizer already"):
        hpt.attach([torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1), loop.problem.optimizer])
    jumps_of(loop).detach()
    assert loop.run(25).jumped == []
    loop.attach().run(60)
    assert loop.jumped == [30]  # by its own count


def test_an_optimizer_that_is_done_with_is_forgotten() -> None:
    """Nothing keeps it, its weights or its jumps alive."""
    loop = Loop().attach().run(35)
    kept = [weakref.ref(one) for one in (loop.problem.optimizer, loop.problem.model, jumps_of(loop))]
    del loop
    gc.collect()
    assert [one() for one in kept] == [None, None, None]


def test_copies_and_files_of_the_optimizer_have_no_hooks() -> None:
    """A deep copy, and what torch.save makes of the whole object, are plain optimizers."""
    loop = Loop().attach().run(35)
    file = io.BytesIO()
    torch.save(loop.problem.optimizer, file)
    file.seek(0)
    for one in (copy.deepcopy(loop.problem.optimizer), torch.load(file, weights_only=False)):
        assert not one._optimizer_step_post_hooks


def test_the_length_of_the_run_may_be_told_until_its_first_step() -> None:
    """It sets the cycle; the same number may be told again at any time, another one not."""
    problem = teacher()
    jumps = hpt.attach(problem.optimizer, HybridConfig(predictor="prior"), model=problem.model)
    jumps.set_total_steps(3000)
    loop = Loop(problem)
    loop.run(1)
    assert jumps.summary()["cycle_steps"] == 30
    jumps.set_total_steps(3000)
    with pytest.raises(UsageError, match="total_steps is 3000, it cannot become 500 after the first step"):
        jumps.set_total_steps(500)
    assert jumps.summary()["total_steps"] == 3000


def test_a_length_out_of_range_is_refused() -> None:
    """As in the settings, and the old one stays."""
    jumps = hpt.attach(teacher().optimizer)
    with pytest.raises(ConfigError, match="total_steps is 0"):
        jumps.set_total_steps(0)


def test_without_a_length_jumps_go_by_the_learning_rate() -> None:
    """It is told once; under a linear decay to 0 over 200 updates none comes below a tenth of the largest rate."""
    problem = teacher()
    problem.scheduler = torch.optim.lr_scheduler.LambdaLR(problem.optimizer, lambda step: max(0.0, 1.0 - step / 200))
    loop = Loop(problem).attach(predictor="prior", total_steps=None).run(200)
    assert loop.events == ["total_steps_unknown"]
    assert loop.jumped == list(range(30, 181, 10))


@pytest.mark.parametrize("names", [True, False])
def test_the_summary_is_of_plain_values(names: bool) -> None:
    """Before the first step the settings, later what was done and why; also without a model."""
    loop = Loop().attach(names=names, predictor="prior")
    assert jumps_of(loop).summary() == {"predictor": "prior", "num_updates": 0}
    loop.run(45)
    summary = jumps_of(loop).summary()
    done = len(loop.jumped)
    assert {name: summary[name] for name in ("num_updates", "cycle_steps", "total_steps", "has_losses")} == {
        "num_updates": 45,
        "cycle_steps": 10,
        "total_steps": 200,
        "has_losses": True,
    }
    assert summary["jumps_accepted"] == done
    assert ("adam-plain" if names else "adam-other") in summary["why"]


def test_the_defaults_need_neither_losses_nor_settings() -> None:
    """One line before the loop, and half a run towards a teacher: the loss is lower than without."""

    def trained(*, jumps: bool) -> float:
        problem = teacher(total=600)
        if jumps:
            hpt.attach(problem.optimizer, model=problem.model).set_total_steps(600)
        loop = Loop(problem).run(300)
        return loop.problem.loss_fn(loop.problem.model, loop.problem.batch(10**6)).item()

    assert trained(jumps=True) < trained(jumps=False)


def test_records_go_to_the_sink() -> None:
    """A jump, a decision, an event: each is a record with the update it belongs to."""
    loop = Loop().attach(predictor="prior", total_steps=None).run(35)
    kinds = [one.kind for one in loop.records]
    assert kinds == ["event", "decision", "jump"]
    assert isinstance(loop.records[0], EventRecord)
    steps: list[Any] = [one.step for one in loop.records]  # pyright: ignore[reportAttributeAccessIssue]
    assert steps == [0, 30, 30]
