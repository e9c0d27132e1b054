"""Noting a full step: three numbers into a bounded history, before it is full and after."""

import time
from collections.abc import Callable
from functools import partial

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.learned.history import StepHistory
from scenarios.made_up_run import steps_of

CAPACITY = 64  # the shipped history, hpt.learned.step_features
MakeHistory = Callable[[], StepHistory]


def set_up(preset: Preset, *, is_full: bool) -> Measured:
    """A history of the shipped length, and numbers to note in it."""
    del preset  # the history does not depend on the model
    rows = [(facts.loss, facts.grad_norm, facts.lr_frac) for facts in steps_of(2 * CAPACITY)]
    filled = StepHistory(CAPACITY)
    for row in rows[:CAPACITY]:
        filled.record_step(*row)

    def make() -> StepHistory:
        return filled if is_full else StepHistory(CAPACITY)

    return Measured(time_loops=partial(_time, rows[CAPACITY:], make), check=partial(_check, make, is_full=is_full))


def _time(rows: list[tuple[float, float, float]], make: MakeHistory, loops: int) -> float:
    """Seconds of `loops` times the rows; making the history is not counted."""
    total_s = 0.0
    for _ in range(loops):
        record = make().record_step
        began = time.perf_counter()
        for loss, grad_norm, lr_frac in rows:
            record(loss, grad_norm, lr_frac)
        total_s += time.perf_counter() - began
    return total_s


def _check(make: MakeHistory, *, is_full: bool) -> None:
    history = make()
    before, steps = history.losses, history.num_steps
    history.record_step(0.25, 0.5, 0.75)
    require(history.num_steps == steps + 1, "recording counts the step")
    kept = (history.losses[-1], history.grad_norms[-1], history.lr_fracs[-1])
    require(kept == (0.25, 0.5, 0.75), "the last numbers are the recorded ones")
    require(len(before) == (CAPACITY if is_full else 0), "the history is full, or empty, as the name says")
    require(len(history) == min(CAPACITY, len(before) + 1), "a full history forgets its oldest step")


SCENARIOS = (
    Scenario(
        group="state_history",
        name="record_step",
        summary="Note loss, gradient norm and learning rate of a step in a history that is not full.",
        unit="step",
        set_up=partial(set_up, is_full=False),
        inner_loops=CAPACITY,
    ),
    Scenario(
        group="state_history",
        name="record_step_full_history",
        summary="The same in a full history, which forgets its oldest step.",
        unit="step",
        set_up=partial(set_up, is_full=True),
        inner_loops=CAPACITY,
    ),
)
