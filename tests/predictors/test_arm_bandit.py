"""The bandit over arms: the base until a value is known, then the arm that pays where it pays."""

import numpy as np

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts
from hpt.predictors.arm_bandit import ArmBandit
from hpt.predictors.registry import build_predictor

NAMES = ("slow", "base", "fast")


def at(progress: float) -> CycleFacts:
    zeros = np.zeros((1, 1))
    return CycleFacts(5, 100, 10, progress, 1.0, (), np.ones((1, 1, 1)), zeros, zeros, np.ones(1), None)


def mean_reward(bandit: ArmBandit | None, rounds: int = 120) -> float:
    """Planted: early the fast arm saves loss, late no jump costs least; values are noisy."""
    noise = np.random.default_rng(0).normal(0.0, 0.2, rounds)
    total = 0.0
    for index in range(rounds):
        progress = (index * 37 % rounds) / rounds
        worth = {0: 0.0, 1: 0.3 - 0.6 * progress, 2: 1.0 - 2.0 * progress}
        arm = 1 if bandit is None else bandit.choose(at(progress)).arm
        value = 0.0 if arm is None else worth[arm] + float(noise[index])
        if bandit is not None and arm is not None:
            bandit.observe(arm, value)
        total += value
    return total / rounds


def test_the_base_arm_plays_until_a_value_is_known() -> None:
    """Without any measured value the preset acts, at any point of the run."""
    bandit = ArmBandit(NAMES, base_arm=1)
    assert [bandit.choose(at(progress)).arm for progress in (0.1, 0.5, 0.9)] == [1, 1, 1]


def test_it_earns_more_than_the_base_where_the_best_arm_changes() -> None:
    """On the planted problem its mean reward is at least three times the base arm's."""
    assert mean_reward(ArmBandit(NAMES, base_arm=1)) > max(0.15, 3.0 * mean_reward(None))


def test_state_round_trip_chooses_the_same() -> None:
    """After loading, choices and rewards continue identically."""
    first, second = ArmBandit(NAMES, 1), ArmBandit(NAMES, 1)
    mean_reward(first, 20)
    second.load_state_dict(first.state_dict())
    assert mean_reward(first, 40) == mean_reward(second, 40)


def test_the_learned_predictors_use_it_only_when_switched_on() -> None:
    """`tuning.bandit` puts the bandit's state into the predictor's; off by default."""
    for wanted in (False, True):
        config = HybridConfig.from_dict({"predictor": "ridge", "tuning": {"bandit": wanted}})
        predictor = build_predictor(config, num_parameters=10, num_groups=1)
        assert ("bandit" in predictor.state_dict()["parts"]) is wanted
