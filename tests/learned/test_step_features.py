"""Step features equal their definitions, and mean the same whatever unit the loss is in."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.blocks import joined, one_step, rows
from references.slow_features import step_features
from references.synthetic_run import SyntheticRun

from hpt.history import StepStats
from hpt.learned.step_features import STEP_NAMES, StepFeatures


def steps_of(count: int, num_groups: int = 2) -> StepStats:
    run = SyntheticRun(num_steps=count, num_groups=num_groups)
    return joined(event for event in run.events() if isinstance(event, StepStats))


def observed(steps: StepStats) -> dict[str, float]:
    """The features after the last step."""
    values = StepFeatures().observe(steps).values[-1]
    return dict(zip(STEP_NAMES, values.tolist(), strict=True))


@pytest.mark.parametrize("count", [2, 9, 70, 200])
def test_every_feature_equals_its_definition(count: int) -> None:
    """Updated step by step, each feature is what its formula says over the whole history."""
    steps = rows(steps_of(200), 0, count)
    expected = step_features(steps)
    assert set(expected) == set(STEP_NAMES)
    assert observed(steps) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    """Losses ten times as large change the loss, its ratio to gradients and its descent per gradient, nothing else."""
    steps = steps_of(150)
    scaled = replace(steps, loss=10 * steps.loss)
    one, ten = observed(steps), observed(scaled)
    assert ten["loss"] == pytest.approx(10 * one["loss"])
    assert ten["noise_per_grad"] == pytest.approx(one["noise_per_grad"] + math.log(10))
    assert ten["descent_per_grad"] == pytest.approx(10 * one["descent_per_grad"])
    for name in set(STEP_NAMES) - {"loss", "noise_per_grad", "descent_per_grad"}:
        assert ten[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9), name


def test_an_unmeasured_gradient_counts_as_the_last_one() -> None:
    """A gradient norm of NaN, from a step where nobody took it, leaves the log norm where it was."""
    steps = steps_of(40)
    unknown, repeated = steps.grad_norm.copy(), steps.grad_norm.copy()
    unknown[-1], repeated[-1] = math.nan, steps.grad_norm[-2]
    assert observed(replace(steps, grad_norm=unknown)) == observed(replace(steps, grad_norm=repeated))


def test_one_group_shows_how_rough_the_gradient_norm_is() -> None:
    """With one group the balance is the size of the norm's change over two steps."""
    steps = steps_of(60, num_groups=1)
    norms = steps.grad_norm
    changes = [0.0, abs(math.log(norms[1] / norms[0])), *np.abs(np.log(norms[2:] / norms[:-2])).tolist()]
    weights = [(15 / 16) ** age for age in range(59, -1, -1)]
    average = sum(weight * change for weight, change in zip(weights, changes, strict=True)) / sum(weights)
    assert observed(steps)["group_fast"] == pytest.approx(changes[-1] - average, rel=1e-9)


def test_a_third_group_is_compared_with_the_second() -> None:
    """With three groups the other balance is the average log ratio of the third to the second."""
    steps = steps_of(60, num_groups=3)
    ratios = np.log(steps.group_grad_norms[:, 2] / steps.group_grad_norms[:, 1]).tolist()
    weights = [(15 / 16) ** age for age in range(59, -1, -1)]
    average = sum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True)) / sum(weights)
    assert observed(steps)["group_other"] == pytest.approx(average, rel=1e-9)


def test_dead_inputs_give_finite_features() -> None:
    """Where nothing moves and every gradient is zero, features are finite and the noise is a millionth of the loss."""
    values = observed(joined([one_step(grad_norm=0.0, group_grad_norms=(0.0, 0.0))] * 100))
    assert all(math.isfinite(value) for value in values.values())
    assert values["loss_noise"] == pytest.approx(math.log(1e-6))


@settings(max_examples=40, deadline=None)
@given(losses=st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=150), cut=st.integers(1, 149))
def test_ranks_and_extremes_are_those_of_all_steps(losses: list[float], cut: int) -> None:
    """Mid-rank in the last 64, height above the lowest loss and steps since it; few values, so that ties occur."""
    features, blocks = StepFeatures(), [losses[:cut], losses[cut:]]
    told = [features.observe(joined(one_step(loss=loss) for loss in block)) for block in blocks if block]
    values = dict(zip(STEP_NAMES, np.concatenate([one.values for one in told]).T, strict=True))
    for place, loss in enumerate(losses):
        seen = losses[: place + 1]
        kept = np.array(seen[-64:])
        rank = (np.sum(kept < loss) + 0.5 * np.sum(kept == loss)) / len(kept)
        assert values["loss_rank"][place] == rank
        assert values["loss_since_low"][place] == math.log1p(place - seen.index(min(seen)))
