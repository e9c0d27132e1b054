"""What undoes a jump in a loop of the user's own, and what it leaves alone."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references.host_loop import K, Loop
from references.problems import Problem, teacher, weights_of
from references.records import events_of
from references.same import assert_same

JUMP = 70  # there is one after this update


def scaled(problem: Problem, factor: float) -> None:
    for one in problem.model.parameters():
        assert one.grad is not None
        one.grad.mul_(factor)


def blow_up(loop: Loop, at: int, factor: float) -> None:
    """The gradients of one update."""
    loop.before_step = lambda number: scaled(loop.problem, factor) if number == at else None


def state_of(problem: Problem) -> Any:
    return {"weights": weights_of(problem.model), "state": problem.optimizer.state_dict()["state"]}


def kept_at(loop: Loop, update: int) -> dict[str, Any]:
    """Weights and the optimizer's state before the jump that follows this update, once it is made.

    The first hook on the optimizer's step runs before that of the jumps.
    """
    kept: dict[str, Any] = {}

    def keep(*_: Any) -> None:
        if loop.num_updates == update and not kept:
            kept.update(
                weights=weights_of(loop.problem.model),
                state={
                    number: {name: one.clone() for name, one in loop.problem.optimizer.state[parameter].items()}
                    for number, parameter in enumerate(loop.problem.model.parameters())
                },
            )

    loop.problem.optimizer.register_step_post_hook(keep)
    return kept


@pytest.mark.parametrize("factor", [1e3, math.nan])
@pytest.mark.parametrize("observes", [True, False])
@pytest.mark.parametrize("after", [1, 2])
def test_a_blow_up_after_a_jump_takes_it_back(factor: float, observes: bool, after: int) -> None:
    """Gradients times a thousand, or NaN: weights and optimizer state are those before the jump, bit for bit."""
    loop = Loop(observes=observes)
    kept = kept_at(loop, JUMP)
    loop.attach()
    blow_up(loop, JUMP + after, factor)
    loop.run(JUMP + 3)
    assert torch.equal(weights_of(loop.problem.model), kept["weights"])
    present = dict(enumerate(loop.problem.optimizer.state[one] for one in loop.problem.model.parameters()))
    assert_same(present, kept["state"])
    assert loop.events == ["jump_rolled_back"]


def test_a_blow_up_that_clipping_hides_from_the_norms_shows_in_the_losses() -> None:
    """After the jump the rate is two thousand times its own for an update, at gradients of norm one."""
    loop = Loop()
    kept = kept_at(loop, JUMP)
    loop.attach()
    group = loop.problem.optimizer.param_groups[0]

    def clip(number: int) -> None:
        torch.nn.utils.clip_grad_norm_(loop.problem.model.parameters(), 1.0)
        group["lr"] *= {JUMP + 1: 2000.0, JUMP + 2: 1 / 2000.0}.get(number, 1.0)

    loop.before_step = clip
    loop.run(JUMP + 3)
    assert loop.events == ["jump_rolled_back"]
    assert torch.equal(weights_of(loop.problem.model), kept["weights"])


def test_numbers_that_are_not_finite_later_in_the_cycle_take_it_back_too() -> None:
    """In the eighth update after the jump: at the end of the cycle everything is as before it."""
    loop = Loop()
    kept = kept_at(loop, JUMP)
    loop.attach()
    blow_up(loop, JUMP + 8, math.nan)
    loop.run(JUMP + K)
    assert torch.equal(weights_of(loop.problem.model), kept["weights"])
    assert loop.events == ["jump_rolled_back"]


@pytest.mark.parametrize("factor", [1e3, math.nan])
@pytest.mark.parametrize("observes", [True, False])
def test_without_a_jump_in_doubt_nothing_is_taken_back(factor: float, observes: bool) -> None:
    """The same blow-up in a run whose window has not begun: its weights are the plain loop's."""
    plain, loop = Loop(), Loop(observes=observes).attach(predict={"window_start_frac": 0.9, "window_end_frac": 1.0})
    for one in (plain, loop):
        blow_up(one, JUMP + 1, factor)
        one.run(JUMP + 25)
    torch.testing.assert_close(
        *(weights_of(one.problem.model) for one in (loop, plain)), rtol=0, atol=0, equal_nan=True
    )
    assert loop.jumped == []
    assert "rolled_back" not in " ".join(loop.events)


def test_a_blow_up_after_the_verdict_is_the_loops_own() -> None:
    """Finite, and in the fifth update after a jump: it stays."""
    loop = Loop().attach()
    blow_up(loop, JUMP + 5, 1e3)
    loop.run(JUMP + 9)
    assert loop.events == []
    assert JUMP in loop.jumped


def test_gradients_stay_with_the_loop() -> None:
    """It may look at them after the step, also where that took a jump back."""
    loop = Loop().attach()
    blow_up(loop, JUMP + 1, 1e3)
    missing: list[int] = []
    loop.after_step = lambda _: missing.append(sum(one.grad is None for one in loop.problem.model.parameters()))
    loop.run(JUMP + 3)
    assert loop.events == ["jump_rolled_back"]
    assert missing == [0] * (JUMP + 3)


def by_hand(problem: Problem) -> None:
    for group in problem.optimizer.param_groups:
        group["lr"], group["betas"], group["weight_decay"] = 1e-4, (0.8, 0.99), 0.02


def by_schedule(problem: Problem) -> None:
    assert problem.scheduler is not None
    for _ in range(20):
        problem.scheduler.step()


def as_tensor(problem: Problem) -> None:
    problem.optimizer.param_groups[0]["lr"].fill_(1e-4)


@pytest.mark.parametrize("change", [by_hand, by_schedule, as_tensor])
@pytest.mark.parametrize("at", [JUMP, JUMP + 2], ids=["jump", "doubt"])
def test_settings_of_the_loop_are_never_taken_back(change: Callable[[Problem], None], at: int) -> None:
    """Rate, betas and decay changed right after a jump, or while it is in doubt, outlive its undoing."""
    problem = teacher()
    if change is as_tensor:
        groups = [{"params": [one], "lr": torch.tensor(3e-3)} for one in problem.model.parameters()]
        problem.optimizer = torch.optim.AdamW(groups, lr=torch.tensor(3e-3), foreach=False)
        problem.scheduler = None
    loop = Loop(problem).attach()
    blow_up(loop, JUMP + 1, 1e3)
    loop.run(at)
    change(problem)
    rates = [float(group["lr"]) for group in problem.optimizer.param_groups]
    others = [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in problem.optimizer.param_groups]
    scheduler, problem.scheduler = problem.scheduler, None
    loop.run(JUMP + 3)
    assert loop.events == ["jump_rolled_back"]
    assert [float(group["lr"]) for group in problem.optimizer.param_groups] == rates
    now = [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in problem.optimizer.param_groups]
    assert now == others
    problem.scheduler = scheduler


def test_the_schedule_goes_on_through_a_rollback() -> None:
    """One rate an update, as in the plain loop."""
    loop, plain = Loop().attach(), Loop()
    rates: list[list[float]] = []
    for one in (loop, plain):
        blow_up(one, JUMP + 1, 1e3)
        seen: list[float] = []
        one.after_step = lambda _, one=one, seen=seen: seen.append(one.problem.optimizer.param_groups[0]["lr"])
        one.run(120)
        rates.append(seen)
    assert loop.events == ["jump_rolled_back"]
    assert rates[0] == rates[1]


def test_a_jump_that_raises_the_probe_beyond_its_bound_is_undone() -> None:
    """It says how far the weights are from where they began, and no rise is allowed: the run is the plain one."""
    plain, loop = Loop().run(60), Loop()
    start = weights_of(loop.problem.model)
    distance = lambda: float((weights_of(loop.problem.model) - start).norm())  # noqa: E731
    loop.attach(distance, probe={"max_rise_frac": 0.0}).run(60)
    assert loop.jumps is not None
    assert loop.jumped == []
    assert loop.jumps.summary()["jumps_rejected"] == 4
    assert torch.equal(weights_of(loop.problem.model), weights_of(plain.problem.model))


def test_the_probe_says_whether_high_losses_are_the_jumps_doing() -> None:
    """Losses shown above the forecast's band: undone if the probe is worse than before the jump, else kept."""
    undone = {}
    for worse in (True, False):
        loop = Loop()
        probes = iter(range(10**6))
        loop.attach(lambda probes=probes, worse=worse: next(probes) % 2 * (-1.0 if worse else 1.0) + 1.0)
        assert loop.jumps is not None
        # pairs of probes: before and after each jump, then now and before it; even ones say 1
        show = loop.jumps.observe
        loop.show = lambda loss, loop=loop, show=show: show(
            loss.detach() + (100.0 if loop.num_updates >= JUMP else 0.0)
        )
        loop.run(JUMP + 3)
        undone[worse] = "jump_rolled_back" in loop.events
    assert undone == {True: True, False: False}


def test_a_probe_that_raises_three_times_ends_the_jumps_and_not_the_loop() -> None:
    """Each is told, the weights are the plain loop's."""

    def probe() -> float:
        raise RuntimeError("no data")

    plain, loop = Loop().run(100), Loop().attach(probe).run(100)
    assert loop.events == ["probe_failed"] * 3 + ["jumps_off"]
    assert "no data" in events_of(loop.records)[0].message
    assert torch.equal(weights_of(loop.problem.model), weights_of(plain.problem.model))


def test_a_probe_leaves_random_streams_alone() -> None:
    """It draws from those of torch, numpy and Python; the loop's own numbers are as without it."""

    def drawing() -> float:
        return float(torch.rand(())) + random.random() + np.random.rand()  # noqa: NPY002

    drawn: list[Any] = []
    for probe in (None, drawing):
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)
        loop = Loop().attach(probe, probe={"max_rise_frac": 10.0}).run(60)
        assert len(loop.jumped) == 4
        drawn.append((float(torch.rand(())), random.random(), float(np.random.rand())))  # noqa: NPY002
    assert drawn[0] == drawn[1]
