"""The learner as a whole: what it says untrained, what it learns, and that it continues bit for bit."""

from typing import Any

import numpy as np
import torch
from references.moody_run import MoodyRun, bumpy_run, moody_run

from hpt.learned.forecast_model import NOTHING, ForecastModel, RelativeForecast, Vector, gaussian_nll
from hpt.learned.learner import DynamicsLearner
from hpt.learned.loss_trend import LossTrend
from hpt.learned.rssm import SIZES
from hpt.learned.world_model import WorldModel


def _learner(seed: int = 0, horizon: int = 12, **settings: Any) -> DynamicsLearner:
    settings.setdefault("update_interval_steps", (0, 0))
    return DynamicsLearner(max_horizon=horizon, seed=seed, **settings)


def _feed(
    learner: ForecastModel, trend: LossTrend, run: MoodyRun, ticks: range, learns: int = 1, horizon: int = 12
) -> None:
    """Ticks of a run, a cycle at a time, learning at the end of every cycle, if asked several times over."""
    begin = ticks.start
    while begin < ticks.stop:
        end = min(ticks.stop, begin - begin % run.cycle_steps + run.cycle_steps)
        at = slice(begin, end)
        path = trend.observe(run.losses[at])
        learner.tick(run.features[at], run.actions[at], run.losses[at], path.level)
        for _ in range(learns * (end % run.cycle_steps == 0)):
            learner.learn(*trend.curve(horizon))
        begin = end


def _tick(learner: ForecastModel, trend: LossTrend, run: MoodyRun, t: int, sign: float = 1.0) -> None:
    """One tick of a run."""
    path = trend.observe(run.losses[t : t + 1])
    learner.tick(sign * run.features[t : t + 1], run.actions[t : t + 1], run.losses[t : t + 1], path.level)


def _scores(run: MoodyRun, learner: DynamicsLearner, horizon: int, first: int) -> dict[str, float]:
    """Mean prequential log score at each cycle's end: with true actions, with none, and of the constant."""
    trend = LossTrend(max(12, horizon))
    totals: dict[str, list[float]] = {"true": [], "none": [], "constant": []}
    for end in range(run.cycle_steps, len(run.losses) - horizon, run.cycle_steps):
        _feed(learner, trend, run, range(end - run.cycle_steps, end), horizon=trend.max_horizon)
        if end < first:
            continue
        mean, scale = trend.at(horizon)
        error = (run.losses[end + horizon - 1] - trend.level - mean) / scale
        planned = run.actions[end : end + horizon]
        told = (("true", learner.forecast(planned)), ("none", learner.forecast(_without_jump(planned, run))))
        for name, said in (*told, ("constant", NOTHING)):
            totals[name].append(gaussian_nll(error - said.shift, said.log_scale))
    return {name: float(np.mean(values)) for name, values in totals.items()}


def _without_jump(actions: Vector, run: MoodyRun) -> Vector:
    """The same plan with full steps only, the last jump a cycle back."""
    quiet = np.zeros_like(actions)
    quiet[:, 2] = np.maximum(actions[:, 2], 1 + np.arange(1, len(actions) + 1) / run.cycle_steps)
    return quiet


def _plan(horizon: int = 12) -> Vector:
    return np.full((horizon, 3), 0.5, np.float32)


def test_untrained_it_is_the_constant_forecaster() -> None:
    """Before the first update the shift is exactly nothing, at any state and horizon."""
    learner, run, trend = _learner(), moody_run(0, 40, 10), LossTrend(12)
    for t in range(15):
        _tick(learner, trend, run, t)
        for horizon in (1, 12):
            assert learner.forecast(_plan(horizon)) == NOTHING
    assert learner.num_ticks == 15


def test_blocks_of_ticks_are_single_ticks() -> None:
    """Taken in cycle by cycle, latents, updates and forecasts are the same bits."""
    run, said, latents = moody_run(2, 100, 20), list[RelativeForecast](), list[Vector]()
    for size in (1, 20):
        learner, trend = _learner(), LossTrend(12)
        for t in range(0, 100, size):
            at = slice(t, t + size)
            path = trend.observe(run.losses[at])
            learner.tick(run.features[at], run.actions[at], run.losses[at], path.level)
            if (t + size) % 20 == 0:
                learner.learn(*trend.curve(12))
        latents.append(learner.latent())
        said.append(learner.forecast(_plan()))
    np.testing.assert_array_equal(latents[0], latents[1])
    assert said[0] == said[1]
    assert said[0] != NOTHING


def test_an_observation_changes_it() -> None:
    """Another loss in one tick, nothing else, leads to another forecast after the next update."""
    said: list[RelativeForecast] = []
    for change in (0.0, 0.5):
        learner, run, trend = _learner(), moody_run(0, 80, 10), LossTrend(12)
        run.losses[55] += change
        _feed(learner, trend, run, range(80))
        said.append(learner.forecast(_plan()))
    assert said[0] != NOTHING
    assert said[0].shift != said[1].shift


def test_other_features_lead_to_another_forecast() -> None:
    """A trained learner's latent follows what it sees."""
    said: list[float] = []
    for sign in (1, -1):
        learner, run, trend = _learner(), moody_run(0, 101, 10), LossTrend(12)
        _feed(learner, trend, run, range(100))
        _tick(learner, trend, run, 100, sign)
        said.append(learner.forecast(_plan()).shift)
    assert said[0] != said[1]


def test_it_beats_the_constant_with_one_update_a_cycle() -> None:
    """On runs with a power law, a wandering level and bumps, 60 updates give a better out-of-sample log score.

    In four of the first five seeds at least: single runs have too few independent forecasts to be sure of each.
    """
    scores = [_scores(moody_run(seed, 1220, 20), _learner(horizon=40), horizon=40, first=100) for seed in range(5)]
    assert sum(score["true"] < score["constant"] for score in scores) >= 4


def test_it_learns_what_jumps_do() -> None:
    """Where only the action tells of a ten-sigma bump, forecasts that know the action score far better."""
    scores = _scores(bumpy_run(1, 71, 10), _learner(), horizon=4, first=500)
    assert scores["true"] < scores["none"] - 1.0
    assert scores["true"] < scores["constant"] - 0.5


def test_heads_disagree_more_off_distribution() -> None:
    """The epistemic part grows when loss and features come to be five deviations from where they ever were."""
    usual = strange = 0.0
    for seed in range(3):
        learner, run, trend = _learner(seed=seed), bumpy_run(seed, 40, 10), LossTrend(12)
        _feed(learner, trend, run, range(399))
        state = learner.state_dict()
        signs = np.sign(np.random.default_rng(seed).standard_normal(64)).astype(np.float32)
        spread: list[float] = []
        for features, level in ((run.features[399], trend.level), (5 * signs, trend.level - 5 * trend.noise)):
            learner.load_state_dict(state)
            learner.tick(features[None], run.actions[399:400], np.array([level]), np.array([level]))
            spread.append(learner.forecast(run.actions[380:384]).epistemic)
        usual, strange = usual + spread[0], strange + spread[1]
    assert strange > 2 * usual > 0


def test_it_continues_bit_for_bit() -> None:
    """Saved after 40 ticks and an update, restored into a learner of another seed: the same from there on."""
    run, trend = moody_run(4, 120, 20), LossTrend(12)
    first = _learner(seed=7)
    _feed(first, trend, run, range(40))
    second, other_trend = _learner(seed=8), LossTrend(12)
    second.load_state_dict(first.state_dict())
    other_trend.load_state_dict(trend.state_dict())
    for learner, level in ((first, trend), (second, other_trend)):
        _feed(learner, level, run, range(40, 80))
        _feed(learner, level, run, range(80, 110))
    assert first.forecast(_plan()) == second.forecast(_plan())
    assert first.forecast(_plan()) != NOTHING
    np.testing.assert_array_equal(first.latent(), second.latent())


def test_saving_changes_nothing_and_is_a_copy() -> None:
    """Taking a state has no effect on the run, and later learning has none on the state."""
    run = moody_run(4, 80, 20)
    said: list[RelativeForecast] = []
    for saves in (False, True):
        learner, trend = _learner(), LossTrend(12)
        _feed(learner, trend, run, range(60))
        state = learner.state_dict() if saves else None
        kept = None if state is None else state["replay"]["rows"]["losses"].copy()
        _feed(learner, trend, run, range(60, 80))
        said.append(learner.forecast(_plan()))
        if state is not None:
            np.testing.assert_array_equal(state["replay"]["rows"]["losses"], kept)
    assert said[0] == said[1]


def test_global_randomness_is_neither_used_nor_moved() -> None:
    """Two learners of one seed agree whatever the global generators do, and leave those where they were."""
    run = moody_run(5, 60, 20)
    said: list[RelativeForecast] = []
    for _ in range(2):
        torch.rand(3)
        torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
        learner = _learner(seed=3)
        _feed(learner, LossTrend(12), run, range(60))
        said.append(learner.forecast(_plan()))
        assert torch.equal(torch.get_rng_state(), torch_state)
        assert str(np.random.get_state()) == numpy_state  # noqa: NPY002
    assert said[0] == said[1]
    assert said[0] != NOTHING


def test_the_latent_is_what_the_model_filters() -> None:
    """After an update the next ticks go on from the old latent with the new weights, as `RSSM.observe` does."""
    learner, run, trend = _learner(), moody_run(8, 80, 20), LossTrend(12)
    _feed(learner, trend, run, range(60))
    start = torch.from_numpy(learner.latent())[None].split((48, 32), dim=1)
    model = WorldModel(SIZES["default"], torch.Generator())
    model.load_state_dict(learner.state_dict()["model"])
    _feed(learner, trend, run, range(60, 79))
    features, actions = (torch.from_numpy(one[60:79])[:, None] for one in (run.features, run.actions))
    with torch.no_grad():
        seen = model.rssm.observe((start[0], start[1]), features, actions, None)
    expected = torch.cat((seen.deter[-1, 0], seen.stoch[-1, 0])).numpy()
    np.testing.assert_allclose(learner.latent(), expected, atol=1e-5)


def test_short_cycles_share_their_updates() -> None:
    """With an interval of thirty steps, cycles of ten change the model every third time only."""
    learner, trend = _learner(update_interval_steps=(30, 30)), LossTrend(12)
    changed: list[bool] = []
    for cycle in range(6):
        before = learner.state_dict()["model"]
        losses = 3.0 - 0.01 * np.arange(10 * cycle, 10 * cycle + 10, dtype=np.float64)
        features = np.repeat(0.1 * np.arange(10, dtype=np.float32)[:, None], 64, axis=1)
        learner.tick(features, np.zeros((10, 3), np.float32), losses, trend.observe(losses).level)
        learner.learn(*trend.curve(12))
        after = learner.state_dict()["model"]
        changed.append(any(not torch.equal(before[name], after[name]) for name in before))
    assert changed == [False, False, True, False, False, True]
