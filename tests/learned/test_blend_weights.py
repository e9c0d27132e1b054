"""How fast the latent's opinion is believed, and disbelieved."""

import numpy as np
import pytest

from hpt.learned.learner import BlendWeights


def _after(cycles: int, signal: float, seed: int = 0) -> BlendWeights:
    """Weights after cycles whose residuals contain `signal` times the forecast shift, which has deviation 0.5."""
    generator, trust = np.random.default_rng(seed), BlendWeights()
    for _ in range(cycles):
        shifts = 0.5 * generator.standard_normal((10, 4))
        residuals = signal * shifts + generator.standard_normal((10, 4))
        trust.judge(residuals, shifts, np.zeros((10, 4)), np.ones((10, 4)))
    return trust


def test_without_evidence_it_believes_little() -> None:
    """Exponential prior over the grid: mean of g under weights e^(-3 g), computed here."""
    grid = np.arange(5) / 4
    weights = np.exp(-3 * grid)
    expected = float(weights @ grid / weights.sum())
    assert BlendWeights().shift == pytest.approx(expected)
    assert BlendWeights().log_scale == pytest.approx(expected)
    assert expected < 0.3


@pytest.mark.parametrize("seed", range(3))
def test_true_forecasts_come_to_be_believed(seed: int) -> None:
    """When the residuals contain the forecast in full, its factor passes 0.8."""
    assert _after(60, 1.0, seed).shift > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_useless_forecasts_come_to_be_ignored(seed: int) -> None:
    """When the residuals have nothing to do with the forecast, its factor falls below 0.05."""
    assert _after(60, 0.0, seed).shift < 0.05


def test_half_true_forecasts_are_believed_by_half() -> None:
    """The factor settles near the regression coefficient."""
    assert np.mean([_after(100, 0.5, seed).shift for seed in range(4)]) == pytest.approx(0.5, abs=0.15)


def test_scales_are_judged_on_their_own() -> None:
    """Residuals of deviation e^0.5, forecast as such: the log scale is believed, a wrong shift is not."""
    generator, trust = np.random.default_rng(0), BlendWeights()
    for _ in range(60):
        residuals = np.exp(0.5) * generator.standard_normal((10, 4))
        trust.judge(residuals, 0.5 * generator.standard_normal((10, 4)), np.full((10, 4), 0.5), np.ones((10, 4)))
    assert trust.log_scale > 0.7
    assert trust.shift < 0.1


def test_old_outcomes_do_not_count() -> None:
    """Where nothing is new nothing changes, and unmarked entries have no say."""
    trust = BlendWeights()
    before = trust.shift
    trust.judge(np.ones((3, 2)), np.ones((3, 2)), np.zeros((3, 2)), np.zeros((3, 2)))
    assert trust.shift == before
    new = np.array([[1.0, 0.0]] * 3)
    one, other = BlendWeights(), BlendWeights()
    one.judge(np.ones((3, 2)), np.ones((3, 2)), np.zeros((3, 2)), new)
    other.judge(np.array([[1.0, -5.0]] * 3), np.ones((3, 2)), np.zeros((3, 2)), new)
    assert one.shift == other.shift


def test_state_continues_exactly() -> None:
    """Restored evidence gives the same factors."""
    first, second = _after(10, 1.0), BlendWeights()
    second.load_state_dict(first.state_dict())
    assert (first.shift, first.log_scale) == (second.shift, second.log_scale)
