"""The gate: when a proposal may be asked for."""

import pytest

from hpt import HybridConfig
from hpt.control.gate import PAUSE_AFTER_REJECTIONS, PAUSE_CYCLES, JumpGate


@pytest.mark.parametrize(
    ("kind", "passed", "progress", "opens"),
    [
        ("earned", True, 0.5, True),
        ("earned", False, 0.5, False),
        ("earned", True, 0.95, False),
        ("always", False, 0.5, True),
        ("always", False, 0.05, False),
    ],
)
def test_it_opens_inside_the_window_once_the_loss_has_fallen(
    kind: str, passed: bool, progress: float, opens: bool
) -> None:
    """`always` does without the fall, not without the window."""
    judge = JumpGate(HybridConfig(gate=kind), (0.1, 0.9))
    judge.progress.passed = passed
    assert judge.opens(progress, 1.0) is opens


@pytest.mark.parametrize(("lr_frac", "opens"), [(0.5, True), (0.05, False)])
def test_without_a_plan_the_learning_rate_says_when_it_is_late(lr_frac: float, opens: bool) -> None:
    """Below a tenth of the largest rate nothing jumps any more."""
    judge = JumpGate(HybridConfig(gate="always"), (0.1, 0.9))
    assert judge.opens(None, lr_frac) is opens


def rejected(count: int) -> JumpGate:
    """A gate that stands open, after so many rejections in a row."""
    judge = JumpGate(HybridConfig(gate="always"), (0.1, 0.9))
    for _ in range(count):
        judge.judge(kept=False)
    return judge


def test_after_rejections_in_a_row_it_pauses_and_opens_again() -> None:
    """Five jumps undone are a pause of ten cycles, once."""
    judge = rejected(PAUSE_AFTER_REJECTIONS)
    answers = [judge.opens(0.5, 1.0) for _ in range(2 * PAUSE_CYCLES)]
    assert answers == [False] * PAUSE_CYCLES + [True] * PAUSE_CYCLES


def test_a_kept_jump_starts_the_count_of_rejections_anew() -> None:
    """Rejections are counted in a row."""
    judge = rejected(PAUSE_AFTER_REJECTIONS - 1)
    judge.judge(kept=True)
    judge.judge(kept=False)
    assert judge.opens(0.5, 1.0)


@pytest.mark.parametrize("cycles", [0, 4])
def test_count_and_pause_survive_a_checkpoint(cycles: int) -> None:
    """Saved before or inside the pause, a restored gate gives the answers the other would have given."""
    judge, twin = rejected(PAUSE_AFTER_REJECTIONS - (cycles == 0)), rejected(0)
    for _ in range(cycles):
        judge.opens(0.5, 1.0)
    twin.load_state_dict(judge.state_dict())
    answers: list[list[bool]] = []
    for each in (judge, twin):
        each.judge(kept=False)
        answers.append([each.opens(0.5, 1.0) for _ in range(2 * PAUSE_CYCLES)])
    assert answers[0] == answers[1]
    assert not answers[0][0]
