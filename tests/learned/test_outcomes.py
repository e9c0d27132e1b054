"""Shrunken values and verdicts: priors first, then the evidence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.outcomes import PRIOR_SUCCESS, ShrunkLogistic, ShrunkMeans


def test_arms_begin_equal_and_at_zero() -> None:
    """Without a value every arm is worth nothing, with the same doubt."""
    means, sds = ShrunkMeans(3).predict()
    assert means.tolist() == [0.0] * 3
    assert len(set(sds.tolist())) == 1


def test_many_values_give_the_sample_means_and_the_sample_spread() -> None:
    """With a hundred values an arm the priors are gone: mean and scatter are the sample's."""
    rng, arms = np.random.default_rng(0), ShrunkMeans(3)
    samples = [0.3 + 0.04 * rng.normal(size=100), -0.1 + 0.04 * rng.normal(size=100)]
    for arm, sample in enumerate(samples):
        for value in sample:
            arms.add(arm, float(value))
    means, sds = arms.predict()
    np.testing.assert_allclose(means[:2], [sample.mean() for sample in samples], atol=2e-3)
    np.testing.assert_allclose(sds[:2], 0.04, rtol=0.1)
    assert sds[2] > 3 * sds[0]


def test_means_equal_the_joint_gaussian_posterior() -> None:
    """Given the two variances, shrinking arm by arm is the exact posterior of the hierarchical model."""
    arms = ShrunkMeans(3)
    observed = [(0, 0.2), (0, 0.1), (1, -0.05)]
    for arm, value in observed:
        arms.add(arm, value)
    within, between = arms._variances(np.array([True, True, False]))
    shared, prior = 0.1**2, between * np.eye(3)
    design = np.eye(3)[[arm for arm, _ in observed]]
    covariance = prior + shared * np.ones((3, 3))
    gain = covariance @ design.T @ np.linalg.inv(design @ covariance @ design.T + within * np.eye(3))
    mean = gain @ [value for _, value in observed]
    spread = np.diag(covariance - gain @ design @ covariance) + within
    np.testing.assert_allclose(arms.predict()[0], mean, rtol=1e-9)
    np.testing.assert_allclose(arms.predict()[1], np.sqrt(spread), rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=8))
def test_one_arm_lies_between_zero_and_the_sample_mean(values: list[float]) -> None:
    """Shrinking never overshoots."""
    arms = ShrunkMeans(1)
    for value in values:
        arms.add(0, value)
    low, high = sorted((0.0, float(np.mean(values))))
    assert low - 1e-12 <= arms.predict()[0][0] <= high + 1e-12


def test_verdicts_start_at_the_prior_and_reach_the_rate() -> None:
    """Without slopes to learn the probability goes from the prior to the observed rate."""
    model, features = ShrunkLogistic(4), np.zeros(4, dtype=np.float32)
    assert model.probability(features) == pytest.approx(PRIOR_SUCCESS)
    for index in range(400):
        model.add(features, index % 4 == 0)
    assert model.probability(features) == pytest.approx(0.25, abs=0.01)


def test_verdicts_learn_which_feature_decides() -> None:
    """A planted feature moves the probability, a useless one hardly does."""
    rng, model = np.random.default_rng(1), ShrunkLogistic(2)
    for _ in range(200):
        features = rng.normal(size=2).astype(np.float32)
        model.add(features, bool(features[0] > 0.0))
    up, down = np.array([2.0, 0.0], dtype=np.float32), np.array([-2.0, 0.0], dtype=np.float32)
    side, other = np.array([0.0, 2.0], dtype=np.float32), np.array([0.0, -2.0], dtype=np.float32)
    assert model.probability(up) - model.probability(down) > 0.6
    assert abs(model.probability(side) - model.probability(other)) < 0.2
