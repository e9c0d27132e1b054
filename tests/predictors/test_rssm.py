"""The RSSM as a predictor: what it is made of, and what it earns on planted runs."""

import numpy as np
import pytest
from references.planted_runs import Shown, noise_losses, outcome_of, wave_losses

from hpt.config import HybridConfig, LearnerConfig
from hpt.learned.forecast_model import ForecastModel
from hpt.learned.learner import DynamicsLearner
from hpt.learned.ridge import RidgeForecast
from hpt.predictors.registry import build_predictor
from hpt.predictors.selector import LearnedSelector

K = 20


def make(seed: int = 0) -> LearnedSelector:
    """With an update every cycle: runs here are shorter than those the shipped interval is for."""

    def models(num_arms: int, max_horizon: int) -> dict[str, ForecastModel]:
        learner = DynamicsLearner(num_arms=num_arms, max_horizon=max_horizon, seed=seed, update_interval_steps=(K, K))
        return {"rssm": learner, "ridge": RidgeForecast(num_arms, max_horizon)}

    return LearnedSelector("rssm", HybridConfig(predictor="rssm", total_steps=2000, full_steps=K), models)


def lead_over_constant(selector: LearnedSelector) -> float:
    """Mean nats per forecast by which the RSSM is ahead."""
    scores = selector.summary()["scores"]
    return scores["constant"]["nll_mean"] - scores["rssm"]["nll_mean"]


@pytest.mark.parametrize("dims", ["default", "reference"])
def test_it_is_the_learner_with_ridge_beside_it(dims: str) -> None:
    """Built by name in both sizes, with the mandatory fallback."""
    config = HybridConfig(predictor="rssm", total_steps=2000, learner=LearnerConfig(dims=dims))
    selector = build_predictor(config)
    assert isinstance(selector, LearnedSelector)
    assert [type(model) for model in selector.models.values()] == [DynamicsLearner, RidgeForecast]
    assert selector.window == (0.1, 0.9)


def test_it_beats_the_constant_on_a_wave_and_leads() -> None:
    """Half a period ahead is forecast a tenth of a nat better than by a forecaster that knows no state."""
    selector = make()
    for _ in Shown(selector, K).drive(wave_losses(700, 3), K):
        pass
    assert lead_over_constant(selector) > 0.1
    assert selector.leader() in {"rssm", "ridge"}


def test_it_loses_next_to_nothing_on_pure_noise() -> None:
    """Where nothing can be forecast it stays within a twentieth of a nat of the constant, either way."""
    selector = make()
    for _ in Shown(selector, K).drive(noise_losses(600, 1), K):
        pass
    assert abs(lead_over_constant(selector)) < 0.05


def test_it_doubts_jumps_that_keep_going_wrong() -> None:
    """The proposals' confidence falls below one half while every verdict is bad."""
    selector, seen = make(), list[float]()
    for step, proposal in Shown(selector, K).drive(noise_losses(400, 2), K):
        if proposal is not None:
            assert proposal.confidence is not None
            seen.append(proposal.confidence)
            selector.judge(outcome_of(step, proposal.arm, good=False))
    assert seen[0] > 0.6
    assert seen[-1] < 0.3


def test_the_seed_decides_and_nothing_else() -> None:
    """Two of one seed forecast the same to the bit; another seed forecasts something else."""
    means: list[float] = []
    for seed in (0, 0, 1):
        selector = make(seed)
        for _ in Shown(selector, K).drive(wave_losses(200, 4), K):
            pass
        actions = np.zeros((selector.far or 0, 3), dtype=np.float32)
        means.append(selector.models["rssm"].forecast(actions).shift)
    assert means[0] == means[1] != means[2]
