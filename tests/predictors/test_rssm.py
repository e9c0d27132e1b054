"""The RSSM as a predictor: what it is made of, and what it earns on planted runs."""

import numpy as np
import pytest
from references.planted_runs import Shown, noise_losses, wave_losses

from hpt.config import HybridConfig, LearnerConfig, ValueConfig
from hpt.learned.learner import DynamicsLearner
from hpt.learned.ridge import RidgeForecast
from hpt.optimizers.traits import UNKNOWN
from hpt.predictors.loss_forecasts import horizon_ticks
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.registry import build_predictor
from hpt.predictors.selector import PolicySelector, nominal_horizon

K = 20


def make(seed: int = 0) -> PolicySelector:
    """With an update every cycle: runs here are shorter than those the shipped interval is for. No forks."""
    value = ValueConfig(fork_budget_frac=0.0)
    config = HybridConfig(predictor="rssm", total_steps=2000, full_steps=K, value=value)
    horizon = horizon_ticks(config, nominal_horizon(Nesterov(config), config))
    learner = DynamicsLearner(max_horizon=horizon, seed=seed, update_interval_steps=(K, K))
    return PolicySelector("rssm", config, UNKNOWN, {"rssm": learner, "ridge": RidgeForecast(horizon)})


def lead_over_constant(selector: PolicySelector) -> float:
    """Mean nats per forecast by which the RSSM is ahead."""
    scores = selector.summary()["scores"]
    return scores["constant"]["nll_mean"] - scores["rssm"]["nll_mean"]


@pytest.mark.parametrize("dims", ["default", "reference"])
def test_it_is_the_learner_with_ridge_beside_it(dims: str) -> None:
    """Built by name in both sizes, with the mandatory fallback."""
    config = HybridConfig(predictor="rssm", total_steps=2000, learner=LearnerConfig(dims=dims))
    selector = build_predictor(config)
    assert isinstance(selector, PolicySelector)
    assert [type(model) for model in selector.forecasts.models.values()] == [DynamicsLearner, RidgeForecast]
    assert selector.window == (0.1, 0.9)


def test_it_beats_the_constant_on_a_wave_and_leads() -> None:
    """Half a period ahead is forecast a tenth of a nat better than by a forecaster that knows no state."""
    selector = make()
    for _ in Shown(selector, K).drive(wave_losses(700, 3), K):
        pass
    assert lead_over_constant(selector) > 0.1
    assert selector.forecasts.leader() in {"rssm", "ridge"}


def test_it_loses_next_to_nothing_on_pure_noise() -> None:
    """Where nothing can be forecast it stays within a twentieth of a nat of the constant, either way."""
    selector = make()
    for _ in Shown(selector, K).drive(noise_losses(600, 1), K):
        pass
    assert abs(lead_over_constant(selector)) < 0.05


def test_the_seed_decides_and_nothing_else() -> None:
    """Two of one seed forecast the same to the bit; another seed forecasts something else."""
    means: list[float] = []
    for seed in (0, 0, 1):
        selector = make(seed)
        for _ in Shown(selector, K).drive(wave_losses(200, 4), K):
            pass
        actions = np.zeros((selector.far or 0, 3), dtype=np.float32)
        means.append(selector.forecasts.models["rssm"].forecast(actions).shift)
    assert means[0] == means[1] != means[2]
