"""Laws that hold for all fixed predictors, and the parts they share."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.trajectory_facts import SimulatedPath, random_path

from hpt.config import HybridConfig, PredictConfig
from hpt.errors import ConfigError
from hpt.learned.facts import JumpOutcome
from hpt.predictors.extrapolation import capped_proposal, past_coefficients, window_of
from hpt.predictors.protocol import Predictor, Proposal
from hpt.predictors.registry import FIXED, build_predictor

JUMPING = [name for name in FIXED if name != "none"]
NUM_CYCLES = 9


def build(name: str) -> Predictor:
    return build_predictor(HybridConfig(predictor=name, seed=3), num_parameters=12, num_groups=1)


def play(predictor: Predictor, path: SimulatedPath, cycles: range, max_horizon: int = 75) -> list[Proposal | None]:
    """Proposals of these cycles; the jump after cycle 7 is kept, all others are rejected."""
    made: list[Proposal | None] = []
    for cycle in cycles:
        facts = path.facts(cycle, progress=cycle / 20)
        predictor.end_cycle(facts)
        made.append(predictor.propose(facts, max_horizon))
        kept = cycle == 7
        predictor.judge(
            JumpOutcome(facts.step, "arm", kept, rolled_back=False, norm_ratio=1, gain=1, loss_change=None, good=kept)
        )
    return made


def path_for(name: str, seed: int) -> SimulatedPath:
    predictor = build(name)
    return random_path(seed, NUM_CYCLES, scales=predictor.scales, num_past=predictor.num_past)


def plain(state: Any) -> Any:
    """What a checkpoint gives back: tuples as lists, numpy scalars as Python's."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [plain(value) for value in state]
    return state.item() if isinstance(state, np.generic) else state


@pytest.mark.parametrize("name", JUMPING)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16), power=st.integers(-8, 8))
def test_units_axes_and_grouping_of_the_weights_do_not_matter(name: str, seed: int, power: int) -> None:
    """Scaling, rotating and regrouping all displacements leaves the coefficients as they were."""
    path = path_for(name, seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 12)))
    other = SimulatedPath(
        2.0**power * path.displacements @ rotation,
        path.scales,
        path.num_past,
        groups=(np.arange(0, 12, 2), np.arange(1, 12, 2)),
    )

    for one, two in zip(play(build(name), path, range(1, 10)), play(build(name), other, range(1, 10)), strict=True):
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            assert one.horizon == two.horizon
            assert two.coefficients == pytest.approx(one.coefficients, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", list(FIXED))
@pytest.mark.parametrize("stop", [2, 6, 8])
def test_a_checkpoint_continues_bit_for_bit(name: str, stop: int) -> None:
    """Proposals after loading equal those of the run that was never stopped."""
    path = path_for(name, seed=11)
    unbroken, first, second = build(name), build(name), build(name)
    expected = play(unbroken, path, range(1, NUM_CYCLES + 1))
    play(first, path, range(1, stop + 1))

    second.load_state_dict(plain(first.state_dict()))

    assert play(second, path, range(stop + 1, NUM_CYCLES + 1)) == expected[stop:]
    assert str(second.state_dict()) == str(unbroken.state_dict())


@pytest.mark.parametrize("name", JUMPING)
@pytest.mark.parametrize("max_horizon", [1, 7, 75])
def test_no_horizon_exceeds_the_largest(name: str, max_horizon: int) -> None:
    """All speak at least once in nine cycles, for 1 to max_horizon steps, along directions they keep."""
    predictor = build(name)
    made = [one for one in play(predictor, path_for(name, 5), range(1, 10), max_horizon) if one is not None]
    averages = {f"{letter}{mu:g}" for letter in "EO" for mu in predictor.scales}
    known = {"d", "own"} | averages | {f"d{i}" for i in range(predictor.num_past)}

    assert made
    for proposal in made:
        assert 1 <= proposal.horizon <= max_horizon
        assert set(proposal.coefficients) <= known
        assert all(type(value) is float for value in proposal.coefficients.values())
        assert proposal.predictor == name
        assert proposal.confidence is None
        assert proposal.value is None


@pytest.mark.parametrize("name", JUMPING)
def test_a_window_can_be_set_for_every_predictor(name: str) -> None:
    """The settings' window replaces each one's own."""
    config = HybridConfig(predictor=name, predict=PredictConfig(window_start_frac=0.2, window_end_frac=0.3))

    built = build_predictor(config, num_parameters=12, num_groups=1)

    assert getattr(built, "window", None) == (0.2, 0.3)


def test_half_a_window_keeps_the_other_half() -> None:
    """Only the end is set: the start is the default's; an empty result is refused."""
    config = HybridConfig(predict=PredictConfig(window_end_frac=0.05))

    assert window_of(config, (0.0, 1.0)) == (0.0, 0.05)
    with pytest.raises(ConfigError, match=r"window_start_frac is 0\.1, not below the window's end 0\.05"):
        window_of(config, (0.1, 0.9))


@settings(max_examples=30, deadline=None)
@given(horizon=st.floats(-50.0, 500.0), max_horizon=st.integers(1, 200))
def test_a_capped_jump_keeps_its_direction(horizon: float, max_horizon: int) -> None:
    """All coefficients shrink by max_horizon / horizon where that is below one, else none changes."""
    proposal = capped_proposal("rre", {"d0": 2.0, "d1": -1.0}, horizon, max_horizon)

    assert proposal is not None
    factor = max_horizon / horizon if horizon > max_horizon else 1.0
    assert proposal.coefficients == {"d0": pytest.approx(2.0 * factor), "d1": pytest.approx(-1.0 * factor)}
    assert proposal.horizon == min(max_horizon, max(1, round(horizon)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_coefficients_that_are_no_numbers_give_no_jump(bad: float) -> None:
    """One NaN among the coefficients is enough."""
    assert capped_proposal("rre", {"d0": 1.0, "d1": bad}, 10, 75) is None


def test_the_newest_displacement_is_number_zero() -> None:
    """Oldest first in, newest first out."""
    assert past_coefficients(np.array([3.0, 2.0, 1.0])) == {"d0": 1.0, "d1": 2.0, "d2": 3.0}


def test_state_dicts_are_plain_and_independent() -> None:
    """Only what a checkpoint can store, and a later cycle does not alter a stored state."""
    allowed = (int, float, str, bool, type(None), np.ndarray, torch.Tensor)
    for name in FIXED:
        predictor, path = build(name), path_for(name, 1)
        play(predictor, path, range(1, 7))
        state = predictor.state_dict()
        before = str(state)
        predictor.end_cycle(path.facts(7))
        leaves = [one for value in state.values() for one in (value if isinstance(value, list) else [value])]

        assert all(isinstance(one, allowed) for one in leaves)
        assert str(state) == before
