"""The RSSM as a predictor: what it is made of, and what it earns on planted runs."""

import numpy as np
import pytest
from references.planted_runs import drive, noise_losses, outcome_of, wave_losses

from hpt.config import HybridConfig, LearnerConfig
from hpt.learned.learner import DynamicsLearner
from hpt.predictors import rssm
from hpt.predictors.chooser import LearnedChooser
from hpt.predictors.registry import build_predictor
from hpt.predictors.ridge import RidgeForecast

K = 20


def make(seed: int = 0, **learner: object) -> LearnedChooser:
    config = HybridConfig(
        predictor="rssm",
        total_steps=2000,
        full_steps=K,
        seed=seed,
        learner=LearnerConfig(**{"update_interval_steps": 1, "forecast_interval_steps": 1, **learner}),  # pyright: ignore[reportArgumentType]
    )
    return rssm.build(config, 1)


def lead_over_constant(chooser: LearnedChooser) -> float:
    """Mean nats per forecast by which the RSSM is ahead."""
    scores = chooser.summary()["scores"]
    return scores["constant"]["nll_mean"] - scores["rssm"]["nll_mean"]


@pytest.mark.parametrize("dims", ["default", "reference"])
def test_it_is_the_learner_with_ridge_beside_it(dims: str) -> None:
    """Built by name in both sizes, with the mandatory fallback."""
    config = HybridConfig(predictor="rssm", total_steps=2000, learner=LearnerConfig(dims=dims))
    chooser = build_predictor(config, num_parameters=10, num_groups=2)
    assert isinstance(chooser, LearnedChooser)
    assert [type(model) for model in chooser.models.values()] == [DynamicsLearner, RidgeForecast]
    assert chooser.window == (0.1, 0.9)


def test_it_beats_the_constant_on_a_wave_and_leads() -> None:
    """Half a period ahead is forecast a tenth of a nat better than by a forecaster that knows no state."""
    chooser = make()
    for _ in drive(chooser, wave_losses(700, 3), K):
        pass
    assert lead_over_constant(chooser) > 0.1
    assert chooser.leader() in {"rssm", "ridge"}


def test_it_loses_next_to_nothing_on_pure_noise() -> None:
    """Where nothing can be forecast it stays within a twentieth of a nat of the constant, either way."""
    chooser = make()
    for _ in drive(chooser, noise_losses(600, 1), K):
        pass
    assert abs(lead_over_constant(chooser)) < 0.05


def test_it_doubts_jumps_that_keep_going_wrong() -> None:
    """The proposals' confidence falls below one half while every verdict is bad."""
    chooser, seen = make(), list[float]()
    for step, proposal in drive(chooser, noise_losses(400, 2), K):
        if proposal is not None:
            assert proposal.confidence is not None
            seen.append(proposal.confidence)
            chooser.judge(outcome_of(step, proposal.arm, good=False))
    assert seen[0] > 0.6
    assert seen[-1] < 0.3


def test_the_seed_decides_and_nothing_else() -> None:
    """Two of one seed forecast the same to the bit; another seed forecasts something else."""
    means: list[float] = []
    for seed in (0, 0, 1):
        chooser = make(seed)
        for _ in drive(chooser, wave_losses(200, 4), K):
            pass
        actions = np.zeros((chooser.horizon, 3), dtype=np.float32)
        means.append(chooser.models["rssm"].forecast(actions).shift)
    assert means[0] == means[1] != means[2]
