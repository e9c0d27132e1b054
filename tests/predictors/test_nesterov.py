"""The base predictor: its presets, its place in the window, its horizon and its agreement with SNOO."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.outer_nesterov import outer_nesterov_jumps
from references.simulated_path import SimulatedPath, random_path

from hpt.config import HybridConfig, PredictConfig
from hpt.errors import ConfigError
from hpt.jump.delta import WeightDelta
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.nesterov import PRESETS, Nesterov, proposal_of, window_of

TREND = LossTrend(8)


def nesterov(preset: str, start: float | None = None, end: float | None = None) -> Nesterov:
    predict = PredictConfig(preset=preset, window_start_frac=start, window_end_frac=end)
    return Nesterov(HybridConfig(predict=predict))


def test_presets_are_the_measured_ones() -> None:
    """As tabulated where they were measured; three are the default without a part, a drift amplified as by it."""
    table = {name: (one.start, one.end, one.window, one.scale, one.orthogonal) for name, one in PRESETS.items()}

    assert table == {
        "orthogonal": ((0.5, 2.3), (0.45, 1.6), (0.10, 0.90), 0.8, True),
        "short": ((0.5, 2.0), (0.5, 2.0), (0.10, 0.90), 0.8, False),
        "ramp": ((0.5, 2.4), (0.4, 1.2), (0.10, 0.90), 0.8, False),
        "long": ((0.25, 2.0), (0.25, 2.0), (0.10, 0.60), 0.95, False),
        "no-pull-back": ((0.0, 1.8), (0.0, 1.15), (0.10, 0.90), 0.8, True),
        "no-ramp": ((0.475, 1.95), (0.475, 1.95), (0.10, 0.90), 0.8, True),
        "not-orthogonal": ((0.5, 2.3), (0.45, 1.6), (0.10, 0.90), 0.8, False),
    }


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0.0, (0.5, 2.4)), (0.1, (0.5, 2.4)), (0.5, (0.45, 1.8)), (0.9, (0.4, 1.2)), (1.0, (0.4, 1.2))],
)
def test_ramp_falls_linearly_through_its_window(progress: float, expected: tuple[float, float]) -> None:
    """Start values up to 10 % of the run, half-way between at its middle, end values from 90 % on."""
    path = random_path(seed=0, num_cycles=4)

    delta = nesterov("ramp").delta(path.stats(4, progress=progress))

    assert (delta.pull_back, delta.gain) == pytest.approx(expected, rel=1e-12)
    assert (delta.scale, delta.orthogonal) == (0.8, False)


@pytest.mark.parametrize(("lr_frac", "gain"), [(1.0, 2.4), (0.5, 1.8), (0.1, 1.2)])
def test_the_learning_rates_fall_stands_in_for_progress(lr_frac: float, gain: float) -> None:
    """With total_steps unknown, half the peak rate counts as half the run."""
    path = random_path(seed=0, num_cycles=4)

    delta = nesterov("ramp").delta(path.stats(4, progress=None, lr_frac=lr_frac))

    assert delta.gain == pytest.approx(gain, rel=1e-12)


def test_the_ramp_spans_the_window_that_is_set() -> None:
    """A window given in the settings replaces the preset's, and the gain falls over the new one."""
    predictor = nesterov("ramp", start=0.2, end=0.4)
    path = random_path(seed=0, num_cycles=4)

    assert predictor.window == (0.2, 0.4)
    assert predictor.delta(path.stats(4, progress=0.3)).gain == pytest.approx(1.8, rel=1e-12)


def test_an_empty_window_is_refused() -> None:
    """A start behind the preset's end is named with its value and the remedy."""
    with pytest.raises(ConfigError, match=r"window_start_frac is 0\.95, not below the window's end 0\.9"):
        nesterov("ramp", start=0.95)


@pytest.mark.parametrize("cycle", [1, 2])
def test_nothing_is_proposed_before_three_cycles(cycle: int) -> None:
    """The first proposal comes with the third finished cycle."""
    path = random_path(seed=0, num_cycles=3)
    predictor = nesterov("short")

    assert predictor.propose(path.stats(cycle, progress=0.5), TREND, 75) is None
    assert predictor.propose(path.stats(3, progress=0.5), TREND, 75) is not None


@pytest.mark.parametrize(("preset", "scale"), [("short", 0.8), ("ramp", 0.8), ("long", 0.95)])
def test_the_presets_time_scale_is_the_trends(preset: str, scale: float) -> None:
    """One EMA of the weights, named in the delta; without a policy in the settings it is played in full."""
    predictor = nesterov(preset)
    path = random_path(seed=0, num_cycles=3, scale=predictor.scale)

    proposal = predictor.propose(path.stats(3, progress=0.5), TREND, 75)

    assert proposal is not None
    assert proposal.delta.scale == predictor.scale == scale
    assert not proposal.delta.orthogonal
    assert proposal.arm == "full"


@pytest.mark.parametrize(
    ("progress", "a", "g"), [(0.0, 0.5, 2.3), (0.3, 0.4875, 2.125), (0.5, 0.475, 1.95), (1.0, 0.45, 1.6)]
)
def test_the_default_follows_orthogonal_factors(progress: float, a: float, g: float) -> None:
    """Its trend is the orthogonal one of .8; the gains fall linearly through its window, the horizon is (g - a) K."""
    path = random_path(seed=2, num_cycles=4)
    stats = path.stats(4, progress=progress)

    proposal = Nesterov(HybridConfig()).propose(stats, TREND, 500)

    assert proposal is not None
    assert (proposal.delta.pull_back, proposal.delta.gain) == pytest.approx((a, g), rel=1e-12)
    assert proposal.delta.orthogonal
    assert (proposal.horizon, proposal.arm) == (round((g - a) * stats.num_steps), "full")


@pytest.mark.parametrize(
    ("policy", "share", "keeps_norm"),
    [("half", 0.5, False), ("half-kept", 0.5, True), ("full", 1.0, False), ("full-kept", 1.0, True)],
)
def test_a_policy_is_a_share_of_gain_and_pull_back(policy: str, share: float, keeps_norm: bool) -> None:
    """Half-way the default is (.475, 1.95); half of it stands for half as many steps, in the same direction."""
    path = random_path(seed=2, num_cycles=4)
    predictor = Nesterov(HybridConfig(predict=PredictConfig(policy=policy)))

    proposal = predictor.propose(path.stats(4, progress=0.5), TREND, 500)

    assert proposal is not None
    wanted = WeightDelta(0.475 * share, 1.95 * share, 0.8, orthogonal=True, keeps_norm=keeps_norm)
    assert replace(proposal.delta, pull_back=wanted.pull_back, gain=wanted.gain) == wanted
    assert (proposal.delta.pull_back, proposal.delta.gain) == pytest.approx((wanted.pull_back, wanted.gain))
    assert (proposal.horizon, proposal.arm) == (round(1.475 * share * path.num_steps), policy)


def test_short_is_outer_nesterov_but_for_the_bias_correction() -> None:
    """-.5 d + 2 E.8 equals SNOO with rate .5 and momentum .8 once E's correction 1 - .8^k is undone."""
    path = random_path(seed=1, num_cycles=9)
    expected = outer_nesterov_jumps(path.displacements, rate=0.5, momentum=0.8)

    for cycle in range(3, 10):
        proposal = nesterov("short").propose(path.stats(cycle, progress=0.5), TREND, 1000)
        assert proposal is not None
        delta = replace(proposal.delta, gain=proposal.delta.gain * (1.0 - 0.8**cycle))
        np.testing.assert_allclose(path.jump(delta, cycle), expected[cycle - 1], rtol=1e-12, atol=1e-12)


def test_the_jump_of_a_steady_drift_is_gain_minus_pull_back_cycles() -> None:
    """Displacements all v: the jump is (g - a) v = 1.5 v and stands for 1.5 K steps."""
    drift = np.array([1.0, -2.0, 0.5])
    path = SimulatedPath(np.tile(drift, (5, 1)), num_steps=20)

    proposal = nesterov("short").propose(path.stats(5, progress=0.5), TREND, 1000)

    assert proposal is not None
    np.testing.assert_allclose(path.jump(proposal.delta, 5), 1.5 * drift, rtol=1e-12)
    assert proposal.horizon == 30


def test_the_jump_points_where_a_quadratic_goes_next() -> None:
    """Gradient descent on a noiseless quadratic: cosine with the next displacement above .9."""
    rates = np.array([0.999, 0.99, 0.97, 0.9])  # contraction of each mode per cycle
    weights = rates ** np.arange(11)[:, None]
    path = SimulatedPath(np.diff(weights, axis=0))

    proposal = nesterov("ramp").propose(path.stats(9, progress=0.3), TREND, 1000)

    assert proposal is not None
    jump, later = path.jump(proposal.delta, 9), path.displacements[9]
    assert jump @ later / (np.linalg.norm(jump) * np.linalg.norm(later)) > 0.9


@settings(max_examples=40, deadline=None)
@given(
    a=st.floats(0.0, 1.0),
    g=st.floats(0.0, 4.0),
    num_steps=st.integers(2, 200),
    max_horizon=st.integers(1, 200),
)
def test_a_long_jump_has_its_gain_lowered(a: float, g: float, num_steps: int, max_horizon: int) -> None:
    """The pull-back stays; the horizon is the nominal one or the cap, and then the gain is a + cap / K."""
    delta = WeightDelta(a, g, 0.8, orthogonal=True)
    proposal = proposal_of("nesterov", delta, num_steps, max_horizon, "full")
    nominal = max(1, round((g - a) * num_steps))

    assert proposal.horizon == min(nominal, max_horizon)
    expected_gain = g if nominal <= max_horizon else a + max_horizon / num_steps
    assert proposal.delta == replace(delta, gain=expected_gain)
    assert proposal.delta.gain <= g


def test_half_a_window_keeps_the_other_half() -> None:
    """Only the end is set: the start is the default's; an empty result is refused."""
    config = HybridConfig(predict=PredictConfig(window_end_frac=0.05))

    assert window_of(config, (0.0, 1.0)) == (0.0, 0.05)
    with pytest.raises(ConfigError, match=r"window_start_frac is 0\.1, not below the window's end 0\.05"):
        window_of(config, (0.1, 0.9))
