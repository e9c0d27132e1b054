"""Forks: every branch really runs, the better one goes on, every step is charged, the value is the true one."""

import copy
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from references.forking import FULL, Forking, HandJump, best, run_by_hand
from references.inner import Training
from references.problems import Problem, noisy_optimum, quadratic, teacher, weights_of
from references.same import assert_same

from hpt import HybridTrainer
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE, POLICIES
from hpt.records import ForkRecord, Record
from hpt.trainer.fork import ForkPlan

FORK_AT, CYCLE_STEPS = 60, 10
SETTINGS: dict[str, Any] = {"gate": "always", "full_steps": CYCLE_STEPS, "predict": {"max_jump_ratio": 10.0}}
BACKWARDS = WeightDelta(pull_back=1.0, gain=-3.0, scale=0.8)


def seeded(problem: Problem, trainer: HybridTrainer, updates: int) -> list[float]:
    """Losses until so many net updates, from one place in torch's own stream."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return problem.run(trainer, updates)


def by_hand(num_steps: int, policy: str, num_jumps: int, full: WeightDelta) -> tuple[Problem, list[float]]:
    """The same run by the slow twin, with the policy's jumps from the fork on."""
    problem, jumps = teacher(dropout=0.1), dict[int, HandJump]()
    if policy != NONE:
        frac = {"half": 0.5, "half-kept": 0.5, "full": 1.0, "full-kept": 1.0}[policy]
        one = HandJump(frac * full.pull_back, frac * full.gain, keeps_norm=policy.endswith("kept"))
        jumps = {FORK_AT + CYCLE_STEPS * place: one for place in range(num_jumps)}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return problem, run_by_hand(problem, num_steps, jumps, CYCLE_STEPS)


def forks_in(records: list[Record]) -> dict[str, ForkRecord]:
    """By policy."""
    return {one.policy: one for one in records if isinstance(one, ForkRecord)}


@pytest.mark.parametrize(
    ("policies", "num_jumps", "settle_steps", "full"),
    [
        (("half",), 1, 20, FULL),
        (("half-kept",), 3, 25, FULL),
        (("full", "half-kept", "full-kept"), 2, 20, FULL),
        (("half", "full"), 2, 13, BACKWARDS),
    ],
)
def test_value_equals_runs_made_by_hand(
    policies: Sequence[str], num_jumps: int, settle_steps: int, full: WeightDelta
) -> None:
    """Gains are the differences to separate runs, value their mean over the last half of settling, per jump."""
    problem, records = teacher(dropout=0.1), list[Record]()
    own = Forking((FORK_AT,), policies, num_jumps, settle_steps, full=full)
    end = FORK_AT + num_jumps * CYCLE_STEPS + settle_steps
    seeded(problem, problem.trainer(records, own, **SETTINGS), end)
    twin, without = by_hand(end, NONE, num_jumps, full)
    ends, values = {NONE: weights_of(twin.model)}, {NONE: 0.0}
    for policy in policies:
        twin, losses = by_hand(end, policy, num_jumps, full)
        ends[policy] = weights_of(twin.model)
        gains = [mine - theirs for mine, theirs in zip(without, losses, strict=True)]
        assert own.outcomes[0].values[policy].gains == tuple(gains[FORK_AT:])
        values[policy] = fmean(gains[-round(settle_steps / 2) :]) / num_jumps
        assert forks_in(records)[policy].value == pytest.approx(values[policy], rel=1e-12)
    chosen = max(values, key=lambda name: values[name])
    assert torch.equal(weights_of(problem.model), ends[chosen])
    assert [name for name, one in forks_in(records).items() if one.goes_on] == [chosen] * (chosen != NONE)


def test_the_run_goes_on_from_the_better_branch_as_if_it_had_been_the_only_one() -> None:
    """Fifty steps later weights, and each loss, are those of the run by hand that made the jumps."""
    problem = teacher(dropout=0.1)
    losses = seeded(problem, problem.trainer(None, Forking((FORK_AT,), num_jumps=2), **SETTINGS), 150)
    twin, expected = by_hand(150, "half", 2, FULL)
    assert losses[100:] == expected[100:]
    assert torch.equal(weights_of(problem.model), weights_of(twin.model))


@pytest.mark.parametrize(("settle_steps", "cycle"), [(20, 7), (25, 8)])
def test_the_trend_goes_on_with_the_cycles_of_the_branch_that_goes_on(settle_steps: int, cycle: int) -> None:
    """Its whole cycles of ten are in, the one that the fork ends in is nobody's; then comes the next fork."""
    own = Forking((40, 71), ("full",), 1, settle_steps, settles=lambda _: "full")
    problem = teacher()
    problem.run(problem.trainer(None, own, **SETTINGS), 130)
    first, second = (one.stats for one in own.outcomes)
    assert (first.cycle, second.cycle) == (4, cycle)
    assert second.step == 40 + CYCLE_STEPS + settle_steps + CYCLE_STEPS


@pytest.mark.parametrize("settings", [{}, {"update": {"accumulation_steps": 2, "clip_norm": 0.5}}])
def test_a_fork_that_goes_on_without_jumps_is_the_plain_run(settings: dict[str, Any]) -> None:
    """Losses, weights, batch norm's buffers, optimizer, schedule and random stream, to the bit."""
    states: list[Any] = []
    for own in (Forking((40, 90), tuple(POLICIES), 2, 15, settles=lambda _: NONE), None):
        problem = teacher(dropout=0.1, norm=True)
        trainer = problem.trainer(None, own, **({} if own else {"predictor": "none"}), **SETTINGS, **settings)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(1)
            losses = problem.run(trainer, 150)
            assert problem.scheduler is not None
            parts = [problem.model, problem.optimizer, problem.scheduler]
            states.append([losses, torch.get_rng_state(), *(copy.deepcopy(one.state_dict()) for one in parts)])
        assert own is None or len(own.outcomes) == 2
    del states[0][-1]["lr_lambdas"], states[1][-1]["lr_lambdas"]
    assert_same(*states)


@pytest.mark.parametrize("name", ["muon+adamw", "soap", "lazy+soap"])
def test_lists_and_peers_go_on_from_a_fork_as_if_there_had_been_none(name: str) -> None:
    """State in odd places, and two schedules, are those of a loop by hand."""
    training, twin = Training.of(name), Training.of(name)
    own = Forking((40, 90), ("full", "full-kept"), 2, 15, settles=lambda _: NONE)
    losses = training.problem.run(training.trainer(None, own, gate="always"), 150)
    assert losses == twin.by_hand(150)
    assert_same(training.state(), twin.state())
    assert len(own.outcomes) == 2


@pytest.mark.parametrize("policies", [("half",), ("half", "full", "full-kept")])
@pytest.mark.parametrize("settles", [best, lambda _: NONE])
def test_every_step_of_losing_branches_is_charged(policies: tuple[str, ...], settles: Any) -> None:
    """One branch's steps are the run's, those of the others are counted beside; nothing else was computed."""
    problem, num_steps = teacher(), 2 * CYCLE_STEPS + 15
    trainer = problem.trainer(None, Forking((40, 90), policies, 2, 15, settles=settles), **SETTINGS)
    calls = [trainer.step(problem.batch(index)).num_backward for index in range(150)]
    counters, lost = trainer.summary()["counters"], 2 * len(policies) * num_steps
    assert counters["forks"] == 2
    assert counters["updates_in_losing_branches"] == lost
    assert (
        counters["optimizer_updates"] == counters["full_step_equivalents"] == trainer.num_updates + lost == 150 + lost
    )
    assert sorted(calls) == [1] * 148 + [1 + lost // 2] * 2


@pytest.mark.parametrize(("num_jumps", "settle_steps"), [(1, 20), (3, 7)])
def test_the_history_counts_steps_from_the_jumps_of_the_branch_that_goes_on(num_jumps: int, settle_steps: int) -> None:
    """A jump ends each of the first cycles of the branch; the step after it is the first since."""
    problem = teacher()
    own = Forking((40,), ("half",), num_jumps, settle_steps, settles=lambda _: "half")
    seen: list[int] = []
    own.observe = lambda steps, path: seen.extend(steps.steps_since_jump.tolist())  # type: ignore[method-assign]
    problem.run(problem.trainer(None, own, **SETTINGS), 100)
    fork = ForkPlan(40, CYCLE_STEPS, own.request, own.outcomes[0].stats)
    since, expected = 0, list[int]()
    for step in range(fork.num_steps):
        since = 1 if step % CYCLE_STEPS == 0 and step // CYCLE_STEPS < num_jumps else since + 1
        expected.append(since)
    assert seen[40 : 40 + fork.num_steps] == expected
    assert seen[40 + fork.num_steps] == expected[-1] + 1


def test_a_jump_is_worth_something_in_a_valley_and_less_than_nothing_round_its_bottom() -> None:
    """Without noise on the way down every policy saves loss; kept off the optimum by noise alone, each costs some."""
    problem, own = quadratic(), Forking((60,), tuple(POLICIES), 2, 20)
    problem.run(problem.trainer(None, own, **SETTINGS), 100)
    assert all(one.value > 0.0 for one in own.outcomes[0].values.values())
    values: dict[str, list[float]] = {policy: [] for policy in ("half", "full")}
    for seed in range(8):
        problem, own = noisy_optimum(seed=seed), Forking((60, 110), tuple(values), 2, 20)
        problem.run(problem.trainer(None, own, **SETTINGS), 160)
        for outcome in own.outcomes:
            for policy, one in outcome.values.items():
                values[policy].append(one.value)
    means = {policy: fmean(some) for policy, some in values.items()}
    assert means["full"] < means["half"] < 0.0
    assert all(mean + 2.0 * stdev(values[policy]) / 4.0 < 0.0 for policy, mean in means.items())
