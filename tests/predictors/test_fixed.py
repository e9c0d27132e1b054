"""Laws that hold for all fixed predictors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.simulated_path import SimulatedPath, random_path

from hpt.config import HybridConfig, PredictConfig
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.protocol import BasePredictor, ForkRequest, Predictor, Proposal
from hpt.predictors.registry import FIXED, build_predictor

NUM_CYCLES = 9
TREND = LossTrend(8)


def build(name: str) -> Predictor:
    return build_predictor(HybridConfig(predictor=name, seed=3))


def play(predictor: Predictor, path: SimulatedPath, cycles: range, max_horizon: int = 75) -> list[Proposal | None]:
    """Proposals of these cycles."""
    made: list[Proposal | None] = []
    for cycle in cycles:
        stats = path.stats(cycle, progress=cycle / 20)
        predictor.end_cycle(stats, TREND)
        proposal = predictor.propose(stats, TREND, max_horizon)
        assert not isinstance(proposal, ForkRequest), "a fixed formula has nothing to measure"
        made.append(proposal)
    return made


def path_for(name: str, seed: int) -> SimulatedPath:
    return random_path(seed, NUM_CYCLES, scale=build(name).scale)


@pytest.mark.parametrize("name", FIXED)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16), power=st.integers(-8, 8))
def test_units_axes_and_grouping_of_the_weights_do_not_matter(name: str, seed: int, power: int) -> None:
    """Scaling, rotating and regrouping all displacements leaves the weight delta as it was."""
    path = path_for(name, seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 12)))
    other = SimulatedPath(
        2.0**power * path.displacements @ rotation,
        path.scale,
        groups=(np.arange(0, 12, 2), np.arange(1, 12, 2)),
    )
    assert play(build(name), path, range(1, 10)) == play(build(name), other, range(1, 10))


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("stop", [2, 6, 8])
def test_a_checkpoint_continues_bit_for_bit(name: str, stop: int) -> None:
    """Proposals after loading equal those of the run that was never stopped."""
    path = path_for(name, seed=11)
    unbroken, first, second = build(name), build(name), build(name)
    expected = play(unbroken, path, range(1, NUM_CYCLES + 1))
    play(first, path, range(1, stop + 1))
    second.load_state_dict(first.state_dict())
    assert play(second, path, range(stop + 1, NUM_CYCLES + 1)) == expected[stop:]


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("max_horizon", [1, 7, 75])
def test_no_horizon_exceeds_the_largest(name: str, max_horizon: int) -> None:
    """All speak at least once in nine cycles, for 1 to max_horizon steps, along the trend they keep."""
    predictor = build(name)
    made = [one for one in play(predictor, path_for(name, 5), range(1, 10), max_horizon) if one is not None]

    assert made
    for proposal in made:
        assert 1 <= proposal.horizon <= max_horizon
        assert proposal.delta.scale == predictor.scale
        assert proposal.predictor == name
        assert proposal.confidence is None


@pytest.mark.parametrize("name", FIXED)
def test_a_window_can_be_set_for_every_predictor(name: str) -> None:
    """The settings' window replaces each one's own."""
    config = HybridConfig(predictor=name, predict=PredictConfig(window_start_frac=0.2, window_end_frac=0.3))
    assert build_predictor(config).window == (0.2, 0.3)


def test_the_plain_loop_never_proposes_and_forecasts_nothing() -> None:
    """None after every cycle, no forecast and no features; the defaults of the base are as promised."""
    predictor = build("none")
    assert isinstance(predictor, BasePredictor)
    assert (predictor.name, predictor.scale, predictor.window, predictor.far) == ("none", 0.8, (0.1, 0.9), None)
    assert play(predictor, random_path(0, 6), range(1, 7)) == [None] * 6
    assert (predictor.forecast(TREND, 5), predictor.features()) == (None, None)
