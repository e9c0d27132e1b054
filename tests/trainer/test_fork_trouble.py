"""Whatever goes wrong in a fork, the run goes on as it would have without it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.forking import FULL, Forking
from references.odd_batches import Unstorable, parts_of
from references.problems import Problem, teacher, weights_of
from references.same import assert_same
from torch import nn

from hpt import HybridTrainer
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE
from hpt.records import EventRecord, ForkRecord, Record, to_json_line
from hpt.trainer import fork as fork_module
from hpt.trainer import rollback

SETTINGS: dict[str, Any] = {"gate": "always", "full_steps": 10, "predict": {"max_jump_ratio": 10.0}}
LEASH = 1.5
FAR = WeightDelta(pull_back=0.0, gain=9.0, scale=0.8)


def plain(updates: int, problem: Problem | None = None) -> tuple[list[float], torch.Tensor]:
    """Losses and weights of the plain loop."""
    problem = problem or teacher()
    losses = problem.run(problem.trainer(predictor="none"), updates)
    return losses, weights_of(problem.model)


def events(records: list[Record], name: str) -> list[EventRecord]:
    return [one for one in records if isinstance(one, EventRecord) and one.name == name]


def forks_in(records: list[Record]) -> list[ForkRecord]:
    return [one for one in records if isinstance(one, ForkRecord)]


def leashed(problem: Problem) -> Problem:
    """The loss is no number once the weights are far from where a plain run has them after sixty updates."""
    twin, inner = teacher(), problem.loss_fn
    twin.run(twin.trainer(predictor="none"), 60)
    home = [one.detach().clone() for one in twin.model.parameters()]

    def loss_fn(net: nn.Module, batch: Any) -> torch.Tensor:
        pairs = zip(net.parameters(), home, strict=True)
        distance = math.sqrt(sum(float((one.detach() - other).square().sum()) for one, other in pairs))
        return inner(net, batch) * (math.nan if distance > LEASH else 1.0)

    problem.loss_fn = loss_fn
    return problem


def test_a_branch_that_breaks_loses_and_the_others_are_measured_as_without_it() -> None:
    """Value -inf in record and outcome, strict JSON; the run is the one whose fork never tried that policy."""
    runs: list[tuple[list[float], torch.Tensor]] = []
    records = list[Record]()
    for policies in (("full", "half"), ("half",)):
        problem, own = leashed(teacher()), Forking((60,), policies, 2, 20, full={"full": FAR, "half": FULL})
        runs.append((problem.run(problem.trainer(records, own, **SETTINGS), 110), weights_of(problem.model)))
        if "full" in policies:
            assert own.outcomes[0].values["full"].is_broken
    broken, measured, alone = forks_in(records)
    assert (broken.policy, broken.value, broken.goes_on) == ("full", -math.inf, False)
    assert "-inf" in to_json_line(broken)
    assert measured == alone
    assert math.isfinite(measured.value)
    assert_same(runs[0], runs[1])


def test_a_broken_branch_that_is_asked_for_does_not_go_on() -> None:
    """The plain run stands, to the bit, whatever the predictor says."""
    problem, records = leashed(teacher()), list[Record]()
    own = Forking((60,), ("full",), 1, 20, full=FAR, settles=lambda _: "full")
    losses = problem.run(problem.trainer(records, own, **SETTINGS), 90)
    assert_same((losses, weights_of(problem.model)), plain(90))
    assert [(one.value, one.goes_on) for one in forks_in(records)] == [(-math.inf, False)]


def raising(problem: Problem, at: int, error: BaseException) -> Problem:
    """The loss raises in one call, counted from 1."""
    inner, calls = problem.loss_fn, 0

    def loss_fn(net: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = inner(net, batch)
        if calls == at:
            raise error
        return loss

    problem.loss_fn = loss_fn
    return problem


ERRORS = {
    "loss": ValueError("negative variance"),
    "memory": torch.OutOfMemoryError("tried to allocate 20.00 GiB"),
    "interrupt": KeyboardInterrupt(),
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("settle_steps", [20, 25])  # a fork that ends with a cycle, and one that does not
def test_what_a_replay_raises_leaves_the_branch_without_jumps(kind: str, settle_steps: int) -> None:
    """Interrupts go on to the caller, all else is an event; the run is the plain one, and it can fork again."""
    end = 70 + settle_steps
    problem, records = raising(teacher(dropout=0.1), end + 17, ERRORS[kind]), list[Record]()
    own = Forking((60, end + 10), ("half",), 1, settle_steps, settles=lambda _: NONE)
    trainer = problem.trainer(records, own, **SETTINGS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        problem.run(trainer, end - 1)
        if kind == "interrupt":
            with pytest.raises(KeyboardInterrupt):
                trainer.step(problem.batch(end - 1))
            trainer._c.state.num_calls += 1  # the caller goes on with the next batch
        problem.run(trainer, 160)
        torch.default_generator.manual_seed(1)
        _, expected = plain(160, teacher(dropout=0.1))
    assert torch.equal(weights_of(problem.model), expected)
    (event,) = events(records, "fork_dropped")
    assert type(ERRORS[kind]).__name__ in event.message
    assert len(events(records, "out_of_memory")) == (kind == "memory")
    counters = trainer.summary()["counters"]
    assert counters["updates_in_losing_branches"] == 16 + 10 + settle_steps  # before the error, and the second fork's
    assert len(forks_in(records)) == 1


def test_half_an_update_of_a_replay_is_no_half_of_the_next_one() -> None:
    """The second micro-batch of an update raises after the first left its gradient; the run is the plain one."""
    accumulated: dict[str, Any] = {"update": {"accumulation_steps": 2}}
    problem, records = raising(teacher(), 2 * 90 + 18, ERRORS["loss"]), list[Record]()
    problem.run(problem.trainer(records, Forking((60,), ("half",), 1, 20), **SETTINGS, **accumulated), 110)
    assert events(records, "fork_dropped")
    twin = teacher()
    twin.run(twin.trainer(predictor="none", **accumulated), 110)
    assert torch.equal(weights_of(problem.model), weights_of(twin.model))


def dropped(problem: Problem, records: list[Record], **settings: Any) -> HybridTrainer:
    """A run of 110 updates whose one fork is wanted after 60."""
    trainer = problem.trainer(records, Forking((60,), ("half",), 1, 20), **(SETTINGS | settings))
    problem.run(trainer, 110)
    return trainer


def in_one_memory(problem: Problem) -> Problem:
    """A data pipeline that fills the same two tensors again and again."""
    inner = problem.batch
    kept = inner(0)

    def batch(index: int) -> Any:
        for mine, new in zip(kept, inner(index), strict=True):
            mine.copy_(new)
        return kept

    problem.batch = batch
    return problem


def unstorable(problem: Problem) -> Problem:
    """Batches of a kind that no checkpoint holds."""
    inner = problem.batch
    problem.batch = lambda index: Unstorable(*inner(index))
    problem.loss_fn = lambda net, batch: nn.functional.mse_loss(net(parts_of(batch)[0]), parts_of(batch)[1])
    return problem


@pytest.mark.parametrize(
    ("change", "limit", "at_step", "message"),
    [
        (lambda problem: problem, 5000, 5, "too large"),
        (unstorable, 2**28, 1, "of a type that cannot be kept"),
        (in_one_memory, 2**28, 2, "changed in place"),
    ],
)
def test_batches_that_cannot_be_kept_drop_the_fork(
    change: Callable[[Problem], Problem], limit: int, at_step: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first step that shows it, once; nothing is replayed, and the run is the plain one."""
    monkeypatch.setattr(fork_module, "MAX_BATCH_BYTES", limit)
    problem, records = change(teacher()), list[Record]()
    trainer = dropped(problem, records)
    (event,) = events(records, "fork_dropped")
    assert message in event.message
    assert event.step == 60 + at_step
    assert not forks_in(records)
    assert trainer.summary()["counters"]["optimizer_updates"] == 110
    assert torch.equal(weights_of(problem.model), plain(110)[1])


def test_numbers_that_are_read_once_a_cycle_and_are_none_undo_the_fork() -> None:
    """A batch of NaN in it costs the steps since the fork; weights and trend are as they were there."""
    problem, records = teacher(), list[Record]()
    inner = problem.batch
    problem.batch = lambda index: (inner(index)[0] * math.nan, inner(index)[1]) if index == 74 else inner(index)
    trainer = problem.trainer(records, Forking((60,), ("half",), 1, 20), **SETTINGS, update={"observe": "cycle"})
    problem.run(trainer, 60)
    weights, trend = weights_of(problem.model), [one.clone() for one in trainer.outer.trajectory._trend]
    while trainer._c.state.fork is not None:
        trainer.step(problem.batch(trainer.num_calls))
    assert trainer.num_calls == 80  # the end of the cycle that the batch is in
    assert trainer.num_updates == 60
    assert torch.equal(weights_of(problem.model), weights)
    assert_same(trainer.outer.trajectory._trend, trend)
    assert trainer.outer.trajectory.num_cycles == 6
    problem.run(trainer, 100)
    assert not forks_in(records)


@pytest.mark.parametrize("num_steps", [3, 27])
def test_a_rollback_inside_a_fork_goes_back_to_where_it_began(num_steps: int) -> None:
    """Observers, trajectory and weights are what they were there, also when cycles of the fork had ended."""
    problem = teacher()
    trainer = problem.trainer(None, Forking((60,), ("half",), 1, 20), **SETTINGS)
    names = {"predictor", "outer", "history", "gate", "residuals", "trend"}
    problem.run(trainer, 60)
    assert trainer._c.state.fork is not None
    before = {name: _copied(part.state_dict()) for name, part in trainer._c.stateful() if name in names}
    problem.run(trainer, 60 + num_steps)
    rollback.roll_back(trainer._c, "planned")
    assert trainer._c.state.fork is None
    assert_same({name: part.state_dict() for name, part in trainer._c.stateful() if name in names}, before)


def _copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _copied(one) for key, one in state.items()}
    if isinstance(state, list):
        return [_copied(one) for one in state]
    return state.clone() if isinstance(state, torch.Tensor) else state


def test_no_fork_is_opened_while_steps_are_retried_at_a_lower_rate() -> None:
    """Its branches would not be run at the rate of the first; the run goes on without jumps."""
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, Forking((60,), ("half",), 1, 20), **SETTINGS)
    problem.run(trainer, 55)
    trainer._c.full.lr_factor, trainer._c.state.retry_left = 0.3, 10
    problem.run(trainer, 110)
    (event,) = events(records, "fork_dropped")
    assert event.step == 60
    assert trainer.summary()["counters"]["forks"] == 0
    assert trainer._c.full.lr_factor == 1.0


def test_a_loss_scale_that_is_lowered_in_a_fork_breaks_no_branch() -> None:
    """It grows too far in mid-fork: the first branch gets over it on further batches, the others on the same one."""
    problem, records = teacher(), list[Record]()
    inner = problem.loss_fn
    problem.loss_fn = lambda net, batch: 16.0 * inner(net, batch)
    own = Forking((60,), ("half", "full"), 2, 20)
    trainer = problem.trainer(records, own, **SETTINGS, precision={"grad_scaler": True})
    scaler = trainer._c.precision.scaler
    assert scaler is not None
    scaler.set_growth_interval(75)
    scaler.set_growth_factor(2.0**111)
    problem.run(trainer, 110)
    assert {one.step for one in events(records, "loss_scale_lowered")} == {75}
    assert [math.isfinite(one.value) for one in forks_in(records)] == [True, True]
