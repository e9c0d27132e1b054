"""Corrections of the prior: ridge regression in closed form, beliefs that widen where a run is unlike stored ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hpt.errors import PrerequisiteError
from hpt.jump.policy import NUM_POLICIES
from hpt.learned import value_models
from hpt.learned.belief import Belief
from hpt.learned.features import NUM_FEATURES
from hpt.learned.prior import Prior
from hpt.learned.run_encoder import RunEncoder
from hpt.learned.value_models import (
    INPUT_CLIP,
    PSEUDO_RUNS,
    RidgeValues,
    RSSMValues,
    build_value_model,
    fit_correction,
)
from hpt.optimizers.traits import UNKNOWN

PENALTY = 3.0
SPREAD = 0.04 * np.eye(NUM_POLICIES)
PRIOR = Prior("adam-text", Belief(np.full(NUM_POLICIES, 0.2), 0.04 * np.eye(NUM_POLICIES)), 5)


def stored(num_runs: int = 60, num_inputs: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(2.0, 3.0, (num_runs, num_inputs))
    weights = generator.normal(size=(num_inputs, NUM_POLICIES))
    return inputs, inputs @ weights + 0.1 * generator.normal(size=(num_runs, NUM_POLICIES))


def test_the_fit_minimises_squares_and_penalty() -> None:
    """The gradient of |residuals - X w|^2 + penalty |w|^2 vanishes; the intercept's own penalty is 1."""
    inputs, residuals = stored()
    fit = fit_correction(inputs, residuals, PENALTY, SPREAD)
    standard = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    design = np.column_stack((np.ones(len(inputs)), np.clip(standard, -INPUT_CLIP, INPUT_CLIP)))
    gradient = design.T @ (design @ fit.weights - residuals)
    gradient += np.array([1.0, *[PENALTY] * inputs.shape[1]])[:, None] * fit.weights
    assert np.abs(gradient).max() < 1e-8


def test_a_correction_foretells_what_it_was_fitted_on() -> None:
    """The mean of runs drawn in the same way is met within what the noise leaves."""
    inputs, residuals = stored(num_runs=400)
    fit = fit_correction(inputs[:300], residuals[:300], 1e-6, SPREAD)
    errors = [fit.corrected(PRIOR.belief.mean, one).mean - 0.2 for one in inputs[300:]] - residuals[300:]
    assert np.sqrt(np.square(errors).mean()) < 0.12


def test_a_run_unlike_the_stored_ones_is_believed_in_less() -> None:
    """The covariance is smallest at the mean of the stored inputs and grows away from it."""
    inputs, residuals = stored()
    fit = fit_correction(inputs, residuals, PENALTY, SPREAD)
    centre = inputs.mean(axis=0)
    sds = [fit.corrected(PRIOR.belief.mean, centre + far * inputs.std(axis=0)).sd(0) for far in (0.0, 1.0, 3.0)]
    assert sds[0] < sds[1] < sds[2]


def test_what_few_runs_leave_over_is_mostly_the_priors_spread() -> None:
    """Runs that the prior foretells exactly shrink it by their spare degrees of freedom alone."""
    inputs, _ = stored(num_runs=10, num_inputs=3)
    fit = fit_correction(inputs, np.zeros((10, NUM_POLICIES)), PENALTY, SPREAD)
    standard = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    squares = np.linalg.svd(standard, compute_uv=False) ** 2
    spare = 10 - float((squares / (squares + PENALTY)).sum()) - 10 / 11  # the intercept's share is 10 / (10 + 1)
    assert fit.left == pytest.approx(PSEUDO_RUNS / (PSEUDO_RUNS + spare) * SPREAD, rel=1e-9)


def test_an_input_that_never_varied_says_nothing() -> None:
    """Whatever it is later, the belief is the same."""
    inputs, residuals = stored()
    inputs[:, 2] = 7.0
    fit = fit_correction(inputs, residuals, PENALTY, SPREAD)
    here, there = inputs[0].copy(), inputs[0].copy()
    there[2] = -1000.0
    mean = PRIOR.belief.mean
    assert np.array_equal(fit.corrected(mean, here).mean, fit.corrected(mean, there).mean)


def test_ridge_reads_features_and_rssm_the_latent() -> None:
    """Each belief is the correction's of its own input."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(20, NUM_FEATURES)).astype(np.float32)
    actions = np.zeros((20, 3), dtype=np.float32)
    encoder = RunEncoder(None)
    weights = dict(encoder._model.state_dict())
    encoder.tick(features, actions)
    latent = encoder.latent().astype(np.float64)
    for model, size, read in (
        (RidgeValues, NUM_FEATURES, features[-1].astype(np.float64)),
        (RSSMValues, len(latent), latent),
    ):
        fit = fit_correction(
            generator.normal(size=(50, size)), generator.normal(size=(50, NUM_POLICIES)), PENALTY, SPREAD
        )
        one = model(UNKNOWN, PRIOR, fit, weights) if model is RSSMValues else model(UNKNOWN, PRIOR, fit)
        one.tick(features, actions)
        expected = fit.corrected(PRIOR.belief.mean, read)
        assert np.array_equal(one.belief(features[-1].astype(np.float64)).mean, expected.mean)


def test_rssm_values_go_on_bit_for_bit() -> None:
    """Saved between two ticks, the latent comes out the same."""
    generator = np.random.default_rng(1)
    features = generator.normal(size=(12, NUM_FEATURES)).astype(np.float32)
    actions = np.zeros((12, 3), dtype=np.float32)
    size = len(RunEncoder(None).latent())
    fit = fit_correction(generator.normal(size=(50, size)), generator.normal(size=(50, NUM_POLICIES)), PENALTY, SPREAD)
    weights = RunEncoder(None)._model.state_dict()
    whole, half = (RSSMValues(UNKNOWN, PRIOR, fit, weights) for _ in range(2))
    whole.tick(features, actions)
    half.tick(features[:5], actions[:5])
    later = RSSMValues(UNKNOWN, PRIOR, fit, weights)
    later.load_state_dict(half.state_dict())
    later.tick(features[5:], actions[5:])
    raw = np.zeros(NUM_FEATURES)
    assert np.array_equal(later.belief(raw).mean, whole.belief(raw).mean)


def test_weights_that_are_not_shipped_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the way out."""
    monkeypatch.setattr(value_models, "PATH", tmp_path / "values.safetensors")
    with pytest.raises(PrerequisiteError, match=r"values\.safetensors are not shipped; use value\.model = 'prior'"):
        build_value_model("ridge", UNKNOWN)


def test_shipped_tensors_are_read_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A correction written as the script writes it is the same in single precision."""
    from safetensors.torch import save_file

    inputs, residuals = stored(num_inputs=NUM_FEATURES, num_runs=100)
    fit = fit_correction(inputs, residuals, PENALTY, SPREAD)
    names = ("centre", "scale", "weights", "inverse", "left")
    save_file({f"ridge.{one}": torch.as_tensor(getattr(fit, one)).float() for one in names}, tmp_path / "w.safetensors")
    monkeypatch.setattr(value_models, "PATH", tmp_path / "w.safetensors")
    model = build_value_model("ridge", UNKNOWN)
    mean = model.belief(inputs[0]).mean - model.prior.belief.mean  # type: ignore[attr-defined]
    assert mean == pytest.approx(fit.corrected(np.zeros(NUM_POLICIES), inputs[0]).mean, rel=1e-4, abs=1e-4)
