"""Jump features by hand."""

import math

import pytest
from references.synthetic_run import SyntheticRun

from hpt.learned.facts import JumpOutcome, StepFacts
from hpt.learned.jump_features import JUMP_NAMES, JumpFeatures

STEPS = [facts for facts in SyntheticRun(num_steps=60, gain=None).facts() if isinstance(facts, StepFacts)]


def step(features: JumpFeatures, cycle_frac: float, since: int | None, level: float = 2.0, fast: float = 2.5) -> None:
    facts = StepFacts(
        step=1,
        loss=2.0,
        grad_norm=1.0,
        group_grad_norms=(1.0,),
        lr_frac=1.0,
        progress=None,
        phase=STEPS[0].phase,
        cycle_frac=cycle_frac,
        steps_since_jump=since,
    )
    features.observe_step(facts, level, fast, 0.5)


def outcome(*, kept: bool, good: bool, loss_change: float | None = 0.2) -> JumpOutcome:
    return JumpOutcome(
        step=1, arm="short", kept=kept, rolled_back=False, norm_ratio=0.6, gain=2.0, loss_change=loss_change, good=good
    )


def named(features: JumpFeatures) -> dict[str, float]:
    return dict(zip(JUMP_NAMES, features.values, strict=True))


def test_time_runs_from_the_last_jump_or_the_cycle_before_it() -> None:
    """Before the first jump time is the position in the cycle, then full steps since the jump, over K."""
    features = JumpFeatures(10)
    step(features, 0.3, None)
    assert named(features)["jump_recency"] == pytest.approx(math.exp(-0.3))
    step(features, 0.1, 12)
    assert named(features)["jump_recency"] == pytest.approx(math.exp(-1.2))


def test_settling_is_measured_from_the_level_before_the_jump() -> None:
    """The anchor is the level before the first step after a jump and stays until the next one."""
    features = JumpFeatures(10)
    step(features, 0.9, 9, level=3.0)
    step(features, 0.1, 1, level=2.0, fast=2.5)
    assert named(features)["jump_settling"] == pytest.approx(1.0)
    step(features, 0.2, 2, level=99.0, fast=1.5)
    assert named(features)["jump_settling"] == pytest.approx(-1.0)
    step(features, 0.1, 1, level=1.5, fast=1.5)
    assert named(features)["jump_settling"] == 0.0


def test_sums_decay_over_cycles() -> None:
    """Gains of kept jumps add up and fall to 1/e in two cycles; verdicts, good sizes minus bad ones, in eight."""
    features = JumpFeatures(5)
    features.observe(outcome(kept=True, good=True), 0.5)
    features.observe(outcome(kept=True, good=True), 0.5)
    features.observe(outcome(kept=False, good=False), 0.5)
    assert named(features)["jump_gain"] == pytest.approx(4.0)
    assert named(features)["jump_verdicts"] == pytest.approx(0.6)
    for _ in range(40):
        step(features, 0.5, 1)
    assert named(features)["jump_gain"] == pytest.approx(4.0 / math.e**4)
    assert named(features)["jump_verdicts"] == pytest.approx(0.6 / math.e)


def test_effect_is_the_probe_or_else_what_the_loss_did() -> None:
    """The probed loss change over the noise; without a probe, the settling at the time of the verdict."""
    features = JumpFeatures(10)
    features.observe(outcome(kept=True, good=True), 0.5)
    assert named(features)["jump_effect"] == pytest.approx(0.4)
    step(features, 0.1, 1, level=2.0, fast=2.7)
    features.observe(outcome(kept=True, good=True, loss_change=None), 0.5)
    assert named(features)["jump_effect"] == pytest.approx(1.4)


def test_a_rejected_jump_leaves_the_last_kept_one_in_place() -> None:
    """Size and effect tell of kept jumps only."""
    features = JumpFeatures(10)
    features.observe(outcome(kept=True, good=True), 0.5)
    before = named(features)
    features.observe(outcome(kept=False, good=False, loss_change=9.0), 0.5)
    assert named(features)["jump_size"] == before["jump_size"]
    assert named(features)["jump_effect"] == before["jump_effect"]
