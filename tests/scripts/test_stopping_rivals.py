"""The e-value that the rule in use was chosen over is right, so that the choice is."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

RIVALS = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "stopping_rivals.py"))


def log_marginal(values: np.ndarray, effects: np.ndarray, weights: np.ndarray) -> float:
    """Density of the values up to scale: the integral over log sigma, effects in standard deviations."""
    sigmas = np.exp(np.linspace(-6.0, 8.0, 2801))[:, None, None]
    scores = (values / sigmas) - effects[None, :, None]
    densities = np.exp(-0.5 * np.square(scores).sum(-1)) / sigmas[..., 0] ** len(values)
    return math.log(float((densities @ weights).sum()) * (14.0 / 2800))


@pytest.mark.parametrize("values", [[0.5, 1.1, 0.8], [0.1, -0.4, 0.3, 0.2, 0.9], [-2.0, -2.2, -1.9, -2.4]])
def test_the_mixture_e_value_is_its_integral(values: list[float]) -> None:
    """Over effects and scales, both by grids; the scale's measure is 1 / sigma with and without an effect."""
    mixture, data = 0.15, np.asarray(values)
    effects = np.linspace(-18.0, 18.0, 1201)
    weights = np.exp(-0.5 * mixture * effects**2) * math.sqrt(mixture / (2.0 * math.pi)) * 36.0 / 1200
    slow = log_marginal(data, effects, weights) - log_marginal(data, np.zeros(1), np.ones(1))
    u = float(data.sum() / math.sqrt(np.square(data).sum()))
    assert RIVALS["log_e_value"](u, len(data), mixture) == pytest.approx(slow, abs=1e-4)


def test_its_interval_ends_where_the_e_value_is_twenty() -> None:
    """From half-width in standard errors back to u."""
    for num in (4, 7, 20):
        t = RIVALS["e_value_factor"](num)
        u = t * math.sqrt(num / (num - 1 + t * t))
        assert math.exp(RIVALS["log_e_value"](u, num)) == pytest.approx(20.0)
    assert RIVALS["e_value_factor"](3, 1.0) == math.inf
