"""The one history of a run: pending steps become past or are dropped whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.history import NEVER, PAST_STEPS, RunHistory
from hpt.predictors.protocol import ForkRequest
from hpt.records import Phase
from hpt.trainer.fork import ForkPlan


def add(history: RunHistory, step: int, loss: float, lr: float = 1.0) -> None:
    history.add(step, lr, 0.1 * step, Phase.FULL)
    history.fill(np.array([[loss, 2.0 * loss, 3.0 * loss, 4.0 * loss]]))


def of(losses: list[float]) -> RunHistory:
    history = RunHistory(2, total_steps=100)
    for step, loss in enumerate(losses, start=1):
        add(history, step, loss)
    return history


def test_pending_steps_are_arrays_in_order() -> None:
    """Every column of the rows and facts is where its name says."""
    history = RunHistory(2, total_steps=100)
    add(history, 1, 5.0, lr=0.5)
    add(history, 2, 4.0, lr=2.0)
    history.jumped()
    add(history, 3, 3.0, lr=1.0)
    steps = history.pending()
    np.testing.assert_array_equal(steps.step, [1, 2, 3])
    np.testing.assert_array_equal(steps.loss, [5.0, 4.0, 3.0])
    np.testing.assert_array_equal(steps.grad_norm, [10.0, 8.0, 6.0])
    np.testing.assert_array_equal(steps.group_grad_norms, [[15.0, 20.0], [12.0, 16.0], [9.0, 12.0]])
    np.testing.assert_allclose(steps.lr_frac, [1.0, 1.0, 0.5])
    np.testing.assert_allclose(steps.progress, [0.01, 0.02, 0.03])
    np.testing.assert_array_equal(steps.steps_since_jump, [NEVER, NEVER, 1])
    assert steps.phase == (Phase.FULL,) * 3


def test_progress_is_not_a_number_without_a_plan() -> None:
    """Unknown is not zero."""
    history = RunHistory(1, total_steps=None)
    history.add(1, 1.0, 0.1, Phase.WARMUP)
    history.fill(np.ones((1, 3)))
    assert np.isnan(history.pending().progress).all()


@settings(max_examples=50, deadline=None)
@given(
    cycles=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12), seed=st.integers(0, 2**16)
)
def test_what_was_dropped_was_never_there(cycles: list[tuple[int, bool]], seed: int) -> None:
    """A run with undone cycles in it has the state of one that never made them."""
    draw = np.random.default_rng(seed)
    run, clean = RunHistory(2, 1000), RunHistory(2, 1000)
    for length, stands in cycles:
        losses = draw.standard_normal(length).tolist()
        for history in (run, clean) if stands else (run,):
            for step, loss in enumerate(losses, start=1):
                add(history, step, loss)
        if not stands:
            run.jumped()
            assert run.drop() == length
            continue
        run.accept()
        clean.accept()
    assert run.past_losses.tolist() == clean.past_losses.tolist()
    assert run.past_grad_norms.tolist() == clean.past_grad_norms.tolist()
    assert (run.num_pending, run.steps_since_jump) == (0, clean.steps_since_jump)


def test_only_recent_finite_numbers_are_past() -> None:
    """The last PAST_STEPS of them, oldest first."""
    history = of([float("nan"), *map(float, range(PAST_STEPS + 5))])
    history.accept()
    np.testing.assert_array_equal(history.past_losses, np.arange(5.0, PAST_STEPS + 5))


def test_steps_before_the_last_snapshot_are_not_dropped() -> None:
    """What a rollback goes back to lies between two pending steps."""
    history = of([1.0, 2.0])
    history.fix()
    add(history, 3, 3.0)
    assert history.drop() == 1
    np.testing.assert_array_equal(history.pending().loss, [1.0, 2.0])


def test_another_branch_takes_the_place_of_the_last_steps() -> None:
    """Its losses, norms and ages; learning rates, places and step numbers are those of the first."""
    history, first = of([1.0, 2.0, 3.0]), of([1.0, 2.0, 3.0])
    history.replace(np.array([[7.0, 1.0, 5.0, 6.0], [8.0, 1.0, 5.0, 6.0]]), [1, 1])
    steps, others = history.pending(), first.pending()
    np.testing.assert_array_equal(steps.loss, [1.0, 7.0, 8.0])
    np.testing.assert_array_equal(steps.grad_norm, [2.0, 1.0, 1.0])
    np.testing.assert_array_equal(steps.group_grad_norms, [[3.0, 4.0], [5.0, 6.0], [5.0, 6.0]])
    np.testing.assert_array_equal(steps.steps_since_jump, [NEVER, 1, 1])
    for name in ("step", "lr_frac", "progress", "cycle_frac"):
        np.testing.assert_array_equal(getattr(steps, name), getattr(others, name))


def aged(jumps_before: list[int], total: int) -> list[int]:
    """The slow twin: full steps since the last jump, of each step, where jumps come before the steps named."""
    since, ages = NEVER, list[int]()
    for step in range(total):
        since = 1 if step in jumps_before else since if since == NEVER else since + 1
        ages.append(since)
    return ages


@given(
    before=st.integers(0, 30),
    cycle_steps=st.integers(2, 12),
    num_jumps=st.integers(1, 6),
    settle_steps=st.integers(0, 40),
    after=st.integers(1, 5),
    jumped_at=st.none() | st.integers(0, 29),
)
def test_ages_after_a_fork_are_those_of_a_run_that_jumped_there(
    before: int, cycle_steps: int, num_jumps: int, settle_steps: int, after: int, jumped_at: int | None
) -> None:
    """Steps since the last jump inside the branch that goes on, and of the steps that follow it."""
    request = ForkRequest(("half",), num_jumps, settle_steps)
    plan = ForkPlan(before, cycle_steps, request, stats=None)  # type: ignore[arg-type]
    earlier = [] if jumped_at is None or jumped_at >= before else [jumped_at]
    jumps = [*earlier, *(before + place * cycle_steps for place in range(num_jumps))]
    history = RunHistory(2, total_steps=1000)
    for step in range(before + plan.num_steps):
        if step in earlier:
            history.jumped()
        add(history, step + 1, 1.0)
    history.replace(np.zeros((plan.num_steps, 4)), plan.ages())
    for step in range(after):
        add(history, before + plan.num_steps + step + 1, 1.0)
    expected = aged(jumps, before + plan.num_steps + after)
    assert history.pending().steps_since_jump.tolist() == expected
    assert history.steps_since_jump == expected[-1]


def test_a_checkpoint_in_mid_cycle_continues_bit_for_bit() -> None:
    """Past, pending and the place a rollback goes back to are all restored."""
    first = of([3.0, 2.0])
    first.accept()
    add(first, 3, 1.5)
    first.fix()
    first.jumped()
    add(first, 4, 1.25)
    second = RunHistory(2, 100)
    second.load_state_dict(first.state_dict())
    for history in (first, second):
        add(history, 5, 1.0)
        assert history.drop() == 2
        history.accept()
    assert first.past_losses.tolist() == second.past_losses.tolist() == [3.0, 2.0, 1.5]
