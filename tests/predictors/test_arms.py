"""Arms around a base preset: which there are, and what each does."""

import pytest
from references.planted_runs import cycle_of

from hpt.config import HybridConfig, PredictConfig
from hpt.predictors.arms import ArmSet
from hpt.predictors.nesterov import Nesterov


def arms_of(preset: str = "ramp", scales: tuple[float, ...] = (0.8, 0.95)) -> ArmSet:
    config = HybridConfig(total_steps=1000, predict=PredictConfig(preset=preset))
    return ArmSet(Nesterov(config), scales)


def test_names_are_scales_times_multipliers_and_none() -> None:
    """Every time scale at every multiplier, and "none" last."""
    expected = ["0.8x0.5", "0.8x1", "0.8x1.5", "0.95x0.5", "0.95x1", "0.95x1.5", "none"]
    assert list(arms_of().names) == expected


@pytest.mark.parametrize(("preset", "base"), [("ramp", "0.8x1"), ("short", "0.8x1"), ("long", "0.95x1")])
def test_base_arm_is_the_preset_itself(preset: str, base: str) -> None:
    """The base arm proposes what the preset alone would."""
    config = HybridConfig(total_steps=1000, predict=PredictConfig(preset=preset))
    nesterov, facts = Nesterov(config), cycle_of(10, 20, 0)
    arms = ArmSet(nesterov, (0.8, 0.95))
    alone = nesterov.propose(facts, 75)
    assert alone is not None
    assert arms.names[arms.base_index] == base == alone.arm
    mine = arms.proposal(arms.base_index, "rssm", facts, 75)
    assert (mine.coefficients, mine.horizon, mine.arm) == (alone.coefficients, alone.horizon, alone.arm)
    assert mine.predictor == "rssm"


def test_multiplier_scales_the_gain_and_leaves_the_pull_back() -> None:
    """Half-way through its window `ramp` is (-.45, 1.8); the arm at 1.5 is (-.45, 2.7)."""
    arms, facts = arms_of(), cycle_of(10, 20, 0)  # progress .5, the middle of .1 to .9
    index = arms.index_of("0.8x1.5")
    assert index is not None
    assert arms.coefficients(index, facts) == pytest.approx((0.45, 2.7, 0.8))


def test_other_time_scale_borrows_measured_constants_and_the_fall_of_the_gain() -> None:
    """`long` is (-.25, 2); half-way `ramp` has fallen from 2.4 to 1.8, so the slow arm is (-.25, 1.5)."""
    arms, facts = arms_of(), cycle_of(10, 20, 0)
    slow, around = arms.index_of("0.95x1"), arms_of("long").index_of("0.8x1")
    assert slow is not None
    assert around is not None
    assert arms.coefficients(slow, facts) == pytest.approx((0.25, 1.5, 0.95))
    assert arms_of("long").coefficients(around, facts) == pytest.approx((0.5, 2.0, 0.8))


def test_the_presets_own_scale_is_always_there() -> None:
    """A trajectory without the preset's time scale still has the base arm, at its place."""
    arms = arms_of("long", (0.8,))
    assert arms.scales == (0.8, 0.95)
    assert arms.arms[arms.base_index].name == "0.95x1"


def test_none_and_strangers_have_no_place() -> None:
    """Names that are no arm are refused, not mapped to one."""
    assert arms_of().index_of("none") is None
    assert arms_of().index_of("0.8x7") is None
