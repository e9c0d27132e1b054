"""The phase controller obeys its table whatever happens to the run."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.control.phases import TRANSITIONS, PhaseController
from hpt.errors import ConfigError
from hpt.records import Phase

EVENTS = st.lists(st.sampled_from([*["go", "jump"] * 8, "reject", "force", "back", "reload"]), max_size=150)
SIZES = st.tuples(st.integers(0, 25), st.integers(2, 9), st.integers(1, 8)).filter(lambda s: s[2] < s[1])


class Walk:
    """Drives a controller as the trainer does and notes the phase of every call and why it changed."""

    def __init__(self, warmup_steps: int, cycle_steps: int, correct_steps: int) -> None:
        self.sizes = (warmup_steps, cycle_steps, correct_steps)
        self.controller = PhaseController(*self.sizes)
        self.seen: list[tuple[Phase, str]] = []

    def react(self, event: str) -> None:
        controller = self.controller
        if event == "force":
            controller.forced_full()
        elif event == "back":
            controller.rolled_back(min(3, controller.step))
            controller.forced_full()
        elif event == "reload":
            self.controller = PhaseController(*self.sizes)
            self.controller.load_state_dict(controller.state_dict())
        else:
            self.call(event)

    def call(self, event: str) -> None:
        """One call; at the end of a cycle "jump" and "reject" ask for a jump and say how it ends."""
        controller = self.controller
        self.seen.append((controller.phase, event))
        if controller.phase is Phase.PREDICT:
            if event == "jump":
                controller.jump_kept()
            else:
                controller.jump_rejected()
            return
        controller.full_step_done()
        if controller.cycle_done:
            if controller.can_predict and event in {"jump", "reject"}:
                controller.begin_predict()
            else:
                controller.start_cycle()


def stretches(phases: list[Phase]) -> list[tuple[Phase, int]]:
    return [(phase, len(list(calls))) for phase, calls in itertools.groupby(phases)]


@settings(max_examples=60, deadline=None)
@given(SIZES, EVENTS)
def test_every_walk_stays_inside_the_table(sizes: tuple[int, int, int], events: list[str]) -> None:
    """Whatever happens, changes of phase are in TRANSITIONS, WARMUP is first and once, bounds hold."""
    walk = Walk(*sizes)
    history = [walk.controller.phase]
    for event in events:
        walk.react(event)
        history.append(walk.controller.phase)
    assert history[0] is Phase.WARMUP
    for before, after in itertools.pairwise(history):
        assert after is before or after in TRANSITIONS[before]
    lengths = stretches([phase for phase, _ in walk.seen])
    assert sum(phase is Phase.WARMUP for phase, _ in lengths) <= 1
    assert all(count == 1 for phase, count in lengths if phase is Phase.PREDICT)
    assert all(count <= sizes[2] for phase, count in lengths if phase is Phase.CORRECT)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.lists(st.sampled_from(["go", "jump", "reject"]), min_size=20, max_size=150))
def test_without_faults_each_outcome_has_its_successor(sizes: tuple[int, int, int], events: list[str]) -> None:
    """PREDICT comes from FULL only, a kept jump is followed by C calls of CORRECT, a rejected one by FULL."""
    walk = Walk(*sizes)
    for event in events:
        walk.call(event)
    for (before, _), (phase, event), (after, _) in zip(walk.seen, walk.seen[1:], walk.seen[2:], strict=False):
        if phase is Phase.PREDICT:
            assert before is Phase.FULL
            assert after is (Phase.CORRECT if event == "jump" else Phase.FULL)
    lengths = stretches([phase for phase, _ in walk.seen])[:-1]
    assert all(count == sizes[2] for phase, count in lengths if phase is Phase.CORRECT)


def test_the_table_lists_what_happens_and_no_more() -> None:
    """Over a long walk with faults every listed change of phase occurs, and no other."""
    rng = np.random.default_rng(0)
    walk, seen = Walk(6, 4, 2), set[tuple[Phase, Phase]]()
    for event in rng.choice(["go", "jump", "reject", "force"], size=2000, p=[0.3, 0.4, 0.25, 0.05]):
        before = walk.controller.phase
        walk.react(str(event))
        seen.add((before, walk.controller.phase))
    listed = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert {(before, after) for before, after in seen if before is not after} == listed


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_warmup_lasts_whole_cycles(sizes: tuple[int, int, int]) -> None:
    """WARMUP is `warmup_steps` rounded up to whole cycles, at least one."""
    warmup_steps, cycle_steps, _ = sizes
    walk = Walk(*sizes)
    for _ in range(80):
        walk.call("go")
    expected = cycle_steps * max(1, -(-warmup_steps // cycle_steps))
    assert stretches([phase for phase, _ in walk.seen])[0] == (Phase.WARMUP, expected)


@pytest.mark.parametrize("phase", list(Phase))
def test_forced_full_leads_to_full_from_anywhere(phase: Phase) -> None:
    """From each phase `forced_full` gives FULL at the start of a cycle."""
    controller = at(phase)
    controller.forced_full()
    assert (controller.phase, controller.cycle_position) == (Phase.FULL, 0)


@pytest.mark.parametrize("phase", [Phase.WARMUP, Phase.CORRECT, Phase.PREDICT])
def test_predict_is_refused_outside_full(phase: Phase) -> None:
    """`begin_predict` from any other phase is a programming error."""
    with pytest.raises(AssertionError, match="FULL"):
        at(phase).begin_predict()


def test_predict_is_refused_inside_a_cycle() -> None:
    """FULL alone is not enough: the cycle must be finished."""
    with pytest.raises(AssertionError, match="finished cycle"):
        at(Phase.FULL).begin_predict()


def test_divergence_in_warmup_does_not_bring_jumps_forward() -> None:
    """After `forced_full` during WARMUP no jump is offered before `warmup_steps` full steps."""
    controller = PhaseController(warmup_steps=10, cycle_steps=4, correct_steps=1)
    controller.full_step_done()
    controller.forced_full()
    offered: list[int] = []
    for _ in range(20):
        controller.full_step_done()
        if controller.cycle_done:
            if controller.can_predict:
                offered.append(controller.step)
            controller.start_cycle()
    assert offered == [13, 17, 21]  # 1 + 4 k, the first not below 10


def test_a_restored_controller_finishes_its_correction() -> None:
    """Saved after the first of two CORRECT steps and sent through JSON, it has one more, then FULL."""
    twin = PhaseController(warmup_steps=0, cycle_steps=4, correct_steps=2)
    twin.load_state_dict(json.loads(json.dumps(at(Phase.CORRECT).state_dict())))
    phases = [twin.phase]
    for _ in range(3):
        twin.full_step_done()
        phases.append(twin.phase)
    assert phases == [Phase.CORRECT, Phase.FULL, Phase.FULL, Phase.FULL]
    assert twin.cycle_done


def test_positions_count_full_steps_since_the_cycle_started() -> None:
    """`cycle_frac` runs from 0 to 1, and the step count goes back by what a rollback undid."""
    controller = PhaseController(warmup_steps=0, cycle_steps=4, correct_steps=1)
    fractions = [controller.cycle_frac]
    for _ in range(4):
        controller.full_step_done()
        fractions.append(controller.cycle_frac)
    assert fractions == [0.0, 0.25, 0.5, 0.75, 1.0]
    controller.rolled_back(3)
    assert controller.step == 1


def test_a_cycle_must_be_longer_than_its_correction() -> None:
    """CORRECT is the head of a cycle, so C >= K is refused with the remedy."""
    with pytest.raises(ConfigError, match="lower correct_steps"):
        PhaseController(warmup_steps=0, cycle_steps=3, correct_steps=3)


def at(phase: Phase) -> PhaseController:
    """A controller brought into `phase` by legal calls, one step into its cycle where that is possible."""
    controller = PhaseController(warmup_steps=0, cycle_steps=4, correct_steps=2)
    full_steps(controller, 1)
    if phase is Phase.WARMUP:
        return controller
    full_steps(controller, 3)
    controller.start_cycle()
    if phase is Phase.FULL:
        full_steps(controller, 1)
        return controller
    full_steps(controller, 4)
    controller.begin_predict()
    if phase is Phase.CORRECT:
        controller.jump_kept()
        full_steps(controller, 1)
    assert controller.phase is phase
    return controller


def full_steps(controller: PhaseController, count: int) -> None:
    for _ in range(count):
        controller.full_step_done()
