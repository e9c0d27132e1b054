"""Noting full steps: what the engine writes down at each, before its past is full and after."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from hpt.bench.scenario import Measured, Preset, Scenario, require
from hpt.history import PAST_STEPS, FloatArray, RunHistory, StepStats
from hpt.records import Phase
from hpt_scenarios.synthetic_run import CYCLE_STEPS, NUM_GROUPS, blocks_of

MakeHistory = Callable[[], RunHistory]


def set_up(preset: Preset, *, is_full: bool) -> Measured:
    """A history, new or with a full past, and a cycle of steps to note in it."""
    del preset  # the history does not depend on the model
    blocks = blocks_of(-(-2 * PAST_STEPS // CYCLE_STEPS) * CYCLE_STEPS)

    def make() -> RunHistory:
        history = RunHistory(NUM_GROUPS, None)
        for block in blocks if is_full else ():
            _note(history, _facts(block), _rows(block))
            history.accept()
        return history

    last = blocks[-1]
    return Measured(
        time_loops=partial(_time, _facts(last), _rows(last), make), check=partial(_check, make, is_full=is_full)
    )


def _facts(block: StepStats) -> list[tuple[int, float, float]]:
    """Step, learning rate and position in the cycle, known at each step."""
    return list(zip(block.step.tolist(), block.lr_frac.tolist(), block.cycle_frac.tolist(), strict=True))


def _rows(block: StepStats) -> FloatArray:
    """Loss and norms, read once a cycle."""
    return np.column_stack((block.loss, block.grad_norm, block.group_grad_norms))


def _note(history: RunHistory, facts: list[tuple[int, float, float]], rows: FloatArray) -> None:
    for step, lr, cycle_frac in facts:
        history.add(step, lr, cycle_frac, Phase.FULL)
    history.fill(rows)


def _time(facts: list[tuple[int, float, float]], rows: FloatArray, make: MakeHistory, loops: int) -> float:
    """Seconds of `loops` times the cycle; making the history and closing the cycle are not counted."""
    total_s, history = 0.0, make()
    for _ in range(loops):
        began = time.perf_counter()
        _note(history, facts, rows)
        total_s += time.perf_counter() - began
        history.drop()
    return total_s


def _check(make: MakeHistory, *, is_full: bool) -> None:
    history = make()
    require(len(history.past_losses) == (PAST_STEPS if is_full else 0), "the past is full, or empty, as the name says")
    history.add(7, 0.5, 0.75, Phase.FULL)
    history.fill(np.array([[0.25, 0.5, *(1.0,) * NUM_GROUPS]]))
    require(history.num_pending == 1, "recording counts the step")
    steps = history.pending()
    kept = (int(steps.step[0]), float(steps.loss[0]), float(steps.grad_norm[0]), float(steps.cycle_frac[0]))
    require(kept == (7, 0.25, 0.5, 0.75), "the last numbers are the recorded ones")
    history.accept()
    require(float(history.past_losses[-1]) == 0.25, "once it stands the step is past")
    require(len(history.past_losses) <= PAST_STEPS, "a full past forgets its oldest step")


SCENARIOS = (
    Scenario(
        group="state_history",
        name="record_step",
        summary="Note loss, gradient norms and learning rate of a full step in a new history.",
        unit="step",
        set_up=partial(set_up, is_full=False),
        inner_loops=CYCLE_STEPS,
    ),
    Scenario(
        group="state_history",
        name="record_step_full_history",
        summary="The same in a history whose past is full.",
        unit="step",
        set_up=partial(set_up, is_full=True),
        inner_loops=CYCLE_STEPS,
    ),
)
