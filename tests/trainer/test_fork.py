"""Forks: both branches really run, the better one goes on, every step is charged, the value is the true one."""

import copy
import math

import pytest
import torch
from references.bad_predictor import Overshoot
from references.problems import Problem, teacher, weights_of

from hpt import HybridConfig, HybridTrainer
from hpt.records import ForkRecord, Record
from hpt.trainer import fork as fork_module
from hpt.trainer.fork import ForkSchedule

FORK = {"budget_frac": 0.5, "steps": 40, "at_fracs": [0.3]}


def build(problem: Problem, records: list[Record], factor: float) -> HybridTrainer:
    config = HybridConfig.from_dict(
        {"total_steps": 200, "full_steps": 10, "warmup_steps": 20, "gate": "always", "fork": FORK}
    )
    return HybridTrainer(
        problem.model,
        problem.optimizer,
        problem.loss_fn,
        config,
        problem.scheduler,
        records.append,
        Overshoot(factor),
    )


def until_fork(problem: Problem, trainer: HybridTrainer) -> None:
    while trainer._c.state.fork is None:
        trainer.step(problem.batch(trainer.num_calls))
        assert trainer.num_calls < 300


@pytest.mark.parametrize("factor", [1.0, -1.4])
def test_value_equals_two_runs_made_by_hand(factor: float) -> None:
    """The recorded value is the mean paired difference of two separate continuations, and the better one goes on."""
    problem, records = teacher(dropout=0.1), list[Record]()
    trainer = build(problem, records, factor)
    until_fork(problem, trainer)
    parts, first = trainer._c, trainer.num_calls
    rng = torch.get_rng_state()
    ends: dict[bool, torch.Tensor] = {}
    losses: dict[bool, list[float]] = {}
    now = copy.deepcopy((problem.model.state_dict(), problem.optimizer.state_dict(), problem.scheduler.state_dict()))  # type: ignore[union-attr]
    for jumped in (False, True):
        twin = teacher(dropout=0.1)
        twin.model.load_state_dict(now[0])
        twin.optimizer.load_state_dict(copy.deepcopy(now[1]))
        assert twin.scheduler is not None
        twin.scheduler.load_state_dict(now[2])
        if jumped:
            fork = parts.state.fork
            assert fork is not None
            for mine, theirs in zip(twin.model.parameters(), problem.model.parameters(), strict=True):
                mine.data.copy_(fork.jumped.kept(theirs))
        torch.set_rng_state(rng)
        losses[jumped] = []
        for index in range(first, first + 40):
            twin.optimizer.zero_grad()
            loss = twin.loss_fn(twin.model, twin.batch(index))
            loss.backward()
            twin.optimizer.step()
            twin.scheduler.step()
            losses[jumped].append(float(loss.detach()))
        ends[jumped] = weights_of(twin.model)
    torch.set_rng_state(rng)
    backwards = [trainer.step(problem.batch(trainer.num_calls)).num_backward for _ in range(40)]
    record = next(one for one in records if isinstance(one, ForkRecord))
    expected = sum(a - b for a, b in zip(losses[False][-10:], losses[True][-10:], strict=True)) / 10
    assert record.value == pytest.approx(expected, rel=1e-9)
    assert record.kept_jump is (expected > 0.0)
    assert torch.equal(weights_of(problem.model), ends[expected > 0.0])
    assert backwards == [1] * 39 + [41]


def test_every_step_of_the_losing_branch_is_charged() -> None:
    """Updates made = net updates + losing branch; the budget admits no further fork."""
    problem, records = teacher(), list[Record]()
    trainer = build(problem, records, 1.0)
    problem.run(trainer, 200)
    counters = trainer.summary()["counters"]
    assert counters["forks"] == 1
    assert counters["updates_in_losing_branches"] == 40
    assert counters["optimizer_updates"] == 200 + 40 + counters["updates_rolled_back"]


def test_a_short_run_has_no_budget_for_a_fork() -> None:
    """200 updates under the default settings pay for none."""
    problem = teacher()
    trainer = problem.trainer()
    problem.run(trainer, 200)
    assert trainer.summary()["counters"]["forks"] == 0


@pytest.mark.parametrize(("total", "affords"), [(9_999, False), (10_000, True)])
def test_the_default_budget_affords_a_fork_from_10_000_updates(total: int, affords: bool) -> None:
    """One per cent of the run against the 100 steps of a losing branch, at the place most wanted: a third."""
    schedule = ForkSchedule(HybridConfig().fork, total)
    assert schedule.is_due(total // 3 + 1) is affords


def test_batches_that_do_not_fit_drop_the_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit below one batch gives the fork up and the run goes on as the branch without the jump."""
    monkeypatch.setattr(fork_module, "MAX_BATCH_BYTES", 10)
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, gate="always", fork=FORK)
    problem.run(trainer, 70)
    assert any(getattr(record, "name", "") == "fork_dropped" for record in records)
    assert math.isfinite(float(weights_of(problem.model).norm()))
    assert trainer.summary()["counters"]["forks"] == 1
