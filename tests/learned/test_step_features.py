"""Step features equal their definitions, and mean the same whatever unit the loss is in."""

import dataclasses
import math

import pytest
from references.slow_features import step_features
from references.synthetic_run import SyntheticRun

from hpt.learned.facts import StepFacts
from hpt.learned.step_features import STEP_NAMES, StepFeatures


def steps_of(count: int, num_groups: int = 2) -> list[StepFacts]:
    run = SyntheticRun(num_steps=count, num_groups=num_groups)
    return [facts for facts in run.facts() if isinstance(facts, StepFacts)]


def observed(steps: list[StepFacts], num_groups: int = 2) -> dict[str, float]:
    features = StepFeatures(num_groups)
    for facts in steps:
        features.observe(facts)
    return dict(zip(STEP_NAMES, features.values, strict=True))


@pytest.mark.parametrize("count", [2, 9, 70, 200])
def test_every_feature_equals_its_definition(count: int) -> None:
    """Updated step by step, each feature is what its formula says over the whole history."""
    steps = steps_of(200)[:count]
    expected = step_features(steps)
    assert set(expected) == set(STEP_NAMES)
    assert observed(steps) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    """Losses ten times as large change the loss, its ratio to gradients and its descent per gradient, nothing else."""
    steps = steps_of(150)
    scaled = [dataclasses.replace(facts, loss=10 * facts.loss) for facts in steps]
    one, ten = observed(steps), observed(scaled)
    assert ten["loss"] == pytest.approx(10 * one["loss"])
    assert ten["noise_per_grad"] == pytest.approx(one["noise_per_grad"] + math.log(10))
    assert ten["descent_per_grad"] == pytest.approx(10 * one["descent_per_grad"])
    for name in set(STEP_NAMES) - {"loss", "noise_per_grad", "descent_per_grad"}:
        assert ten[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9), name


def test_an_unmeasured_gradient_counts_as_the_last_one() -> None:
    """A gradient norm of NaN, from a step where nobody took it, leaves the log norm where it was."""
    steps = steps_of(40)
    unknown = dataclasses.replace(steps[-1], grad_norm=math.nan)
    repeated = dataclasses.replace(steps[-1], grad_norm=steps[-2].grad_norm)
    assert observed([*steps[:-1], unknown]) == observed([*steps[:-1], repeated])


def test_one_group_shows_how_rough_the_gradient_norm_is() -> None:
    """With one group the balance is the size of the norm's change over two steps."""
    steps = steps_of(60, num_groups=1)
    changes = [
        abs(math.log(late.grad_norm / early.grad_norm)) for early, late in zip(steps[:-2], steps[2:], strict=True)
    ]
    changes = [0.0, abs(math.log(steps[1].grad_norm / steps[0].grad_norm)), *changes]
    weights = [(15 / 16) ** age for age in range(59, -1, -1)]
    average = sum(weight * change for weight, change in zip(weights, changes, strict=True)) / sum(weights)
    assert observed(steps, 1)["group_fast"] == pytest.approx(changes[-1] - average, rel=1e-9)


def test_a_third_group_is_compared_with_the_second() -> None:
    """With three groups the other balance is the average log ratio of the third to the second."""
    steps = steps_of(60, num_groups=3)
    ratios = [math.log(facts.group_grad_norms[2] / facts.group_grad_norms[1]) for facts in steps]
    weights = [(15 / 16) ** age for age in range(59, -1, -1)]
    average = sum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True)) / sum(weights)
    assert observed(steps, 3)["group_other"] == pytest.approx(average, rel=1e-9)


def test_dead_inputs_give_finite_features() -> None:
    """Where nothing moves and every gradient is zero, features are finite and the noise is a millionth of the loss."""
    still = dataclasses.replace(steps_of(1)[0], grad_norm=0.0, group_grad_norms=(0.0, 0.0))
    values = observed([still] * 100)
    assert all(math.isfinite(value) for value in values.values())
    assert values["loss_noise"] == pytest.approx(math.log(1e-6))
