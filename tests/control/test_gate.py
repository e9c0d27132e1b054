"""The gate: who may act, and that no veto is for ever."""

import pytest

from hpt import HybridConfig
from hpt.control.gate import VETOES_BEFORE_TRIAL, JumpGate


def gate(kind: str = "earned") -> JumpGate:
    return JumpGate(HybridConfig.from_dict({"gate": kind, "confidence_threshold": 0.8}), (0.0, 1.0))


def test_low_confidence_is_refused_but_gets_a_trial_now_and_then() -> None:
    """Four refusals, one trial, over and over: the calibration always hears of some verdict."""
    judge = gate()
    answers = [judge.admits(0.1) for _ in range(3 * (VETOES_BEFORE_TRIAL + 1))]
    assert answers == [*[False] * VETOES_BEFORE_TRIAL, True] * 3


def test_a_confident_proposal_acts_and_starts_the_count_anew() -> None:
    """Refusals are counted in a row."""
    judge = gate()
    assert [judge.admits(one) for one in (0.1, 0.1, 0.8, 0.1, 0.1, 0.1)] == [False, False, True, False, False, False]


@pytest.mark.parametrize(("kind", "confidence"), [("always", 0.0), ("earned", None)])
def test_controls_and_predictors_without_an_opinion_are_never_refused(kind: str, confidence: float | None) -> None:
    """`always` and "no opinion" act every time."""
    judge = gate(kind)
    assert all(judge.admits(confidence) for _ in range(20))


def test_the_count_survives_a_checkpoint() -> None:
    """A restored gate gives the answers the other would have given."""
    judge, twin = gate(), gate()
    for _ in range(3):
        judge.admits(0.1)
    twin.load_state_dict(judge.state_dict())
    assert [twin.admits(0.1) for _ in range(4)] == [judge.admits(0.1) for _ in range(4)]


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
